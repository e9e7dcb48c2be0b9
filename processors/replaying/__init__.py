"""The parts of the replay stage (processors/replay.py): what walks the dead letters, what returns, what is written."""
