"""The training engine: seeds, devices, schedules, checkpoints, logs and the one trainer of all three modes."""
