//! What the nodes know of each other: the directory of visitors and the bus of hints.
