//! What needs an exact race or hours of virtual time.
