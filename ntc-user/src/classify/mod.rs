//! From features to an answer.

pub mod bundle;
pub mod library;
pub mod manifest;
pub mod model;
pub mod selection;
pub mod store;
pub mod vectors;
pub mod vocabulary;

pub use bundle::{Bundle, BundleError};
pub use library::LibraryError;
pub use model::{Model, ModelError};
pub use selection::{Selection, SelectionError};
pub use store::{Place, Store};
pub use vocabulary::{Answer, Vocabulary};
