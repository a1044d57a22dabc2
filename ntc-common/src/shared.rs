//! The one way a struct is shared between kernel and user space.

/// Declares a `repr(C)` struct of integers and integer arrays that kernel and user space share.
///
/// Beside the struct it makes: a compile-time proof that there is no padding (so that every byte is
/// initialised and hashes equal), the fixed size, the field table from which the C header is written, and
/// under the feature `user` the `aya::Pod` mark.
macro_rules! shared_struct {
    (
        $(#[$meta:meta])*
        pub struct $name:ident: $size:literal {
            $( $(#[$field_meta:meta])* pub $field:ident: $type:tt, )*
        }
    ) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name {
            $( $(#[$field_meta])* pub $field: shared_struct!(@rust $type), )*
        }

        const _: () = {
            assert!(core::mem::size_of::<$name>() == $size, "the size is part of the ABI");
            assert!(0 $( + core::mem::size_of::<shared_struct!(@rust $type)>() )* == $size, "no padding");
            assert!(core::mem::align_of::<$name>() <= 8, "maps and rings align to 8");
        };

        impl $crate::header::Layout for $name {
            const NAME: &'static str = stringify!($name);
            const FIELDS: &'static [$crate::header::Field] =
                &[ $( $crate::header::Field { name: stringify!($field), rust_type: stringify!($type) } ),* ];
        }

        // SAFETY: repr(C), integers only, no padding (asserted above): every bit pattern is a value, and
        // every byte is initialised.
        unsafe impl $crate::source::Plain for $name {}

        // SAFETY: as above.
        #[cfg(feature = "user")]
        unsafe impl aya::Pod for $name {}
    };
    (@rust [$element:ty; $count:expr]) => { [$element; $count] };
    (@rust $type:ty) => { $type };
}
