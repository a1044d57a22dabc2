//! From features to an answer.

pub mod bundle;
pub mod library;
pub mod model;

pub use bundle::{Bundle, BundleError};
pub use library::LibraryError;
pub use model::{Answer, Model, ModelError};
