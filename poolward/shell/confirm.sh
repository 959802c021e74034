# The live files are proved: from here on they are what a later run goes back to.
rm -rf "$staging"
drop_superseded
