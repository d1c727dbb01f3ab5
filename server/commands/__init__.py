"""What the commands of server/cli do, imported one by one when they run."""
