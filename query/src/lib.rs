//! Question in, rows out: the query engines and the dialects that speak to them. Writes nothing.

pub mod daybook;
pub mod elastic;
pub mod limits;
pub mod logs;
