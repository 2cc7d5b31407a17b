//! The HTTP side of the public listener, and the ops listener.
