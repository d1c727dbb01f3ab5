"""The tests of Weft: outcomes at the doors users have, on a real Postgres and with no network but loopback."""
