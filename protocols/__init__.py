"""What parties say to each other: messages and party states, with no socket, clock, disk or thread."""
