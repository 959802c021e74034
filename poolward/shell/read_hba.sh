# variables: port
text=$(hba_text)
section hba
printf '%s\n' "$text" | indented
section end
