//! The Python module `octopoid._native`.
