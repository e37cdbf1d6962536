"""The `headgate` command: one file per verb in `commands/`, found by folder, loaded when used."""
