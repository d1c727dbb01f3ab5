"""The demo: the main job on real input, against a real server that is killed twice on the way."""
