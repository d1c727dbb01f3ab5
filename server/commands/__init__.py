"""What the commands of server/cli.py do, imported one by one when they run."""
