//! Counts over the last while in 61 buckets: what was added counts for at least the window and at most a sixtieth of
//! it longer. Memory is fixed whatever is added; time is monotonic.
