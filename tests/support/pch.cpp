// Carries the precompiled GoogleTest headers that all test programs reuse.
