# variables: event
journal "$event"
