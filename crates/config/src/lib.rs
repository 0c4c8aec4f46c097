//! Configuration of nginx, of HAProxy and of the kernel (`sysctl.d`): bytes in; trees with places, and settings with
//! what they mean, out. Edits give bytes again, and change nothing but what they say.
//!
//! No I/O: files that include others ask the caller for them. Reading never fails: whatever the bytes are, there is a
//! tree, which writes the same bytes again, and a list of [`Problem`]s with line and column.
//!
//! ```
//! let text = "http {\n  upstream app { server 10.0.0.1:80; } # two more soon\n}\n";
//! let tree = config::nginx::Tree::parse(text);
//! let upstream = tree.all().find(|directive| directive.is("upstream")).unwrap();
//! assert_eq!(upstream.argument(0).unwrap().text(), "app");
//! assert_eq!(upstream.place().to_string(), "2:3");
//! assert_eq!(tree.to_bytes(), text.as_bytes());
//! ```
//!
//! Invariants: the leaves of a tree lie in order and apart, and only blanks lie between them, so every byte that means
//! something is in one place of the tree. Memory is bounded by the size of the file, depth and number of leaves by
//! limits that are said when they are met.

mod edit;
pub mod haproxy;
mod kind;
mod leaf;
pub mod nginx;
mod program;
pub mod sysctl;
mod text;

pub use edit::{CannotEdit, EditedFile};
pub use kind::Kind;
pub use leaf::{Leaf, LeafKind, MAX_LEAVES};
pub use program::{Edit, Edited, Sources};
pub use text::{MAX_BYTES, Place, Problem, Span, Text};
