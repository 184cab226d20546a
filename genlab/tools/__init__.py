"""Tools beside the course: `bench` measures speed, `doctor` the machine, `notebooks` runs and stores notebooks."""
