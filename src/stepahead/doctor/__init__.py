"""What is wrong with a broker and its feeds for us, found by listening and by bounded experiments, in plain words."""
