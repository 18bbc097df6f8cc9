//! What stands for the outside world in tests: a server that speaks a model's streaming API and plays scripted turns.

pub mod messages_api;
