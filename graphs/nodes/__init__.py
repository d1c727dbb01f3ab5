"""One file per node type; the file name is the type. The contract is in graphs/nodetype.py."""
