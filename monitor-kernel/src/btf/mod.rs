//! The running kernel's type information: offsets of struct members, and ids of functions.

mod function_ids;
mod kernel_types;
mod reader;
#[cfg(test)]
mod test_blob;

pub use self::kernel_types::KernelTypes;
