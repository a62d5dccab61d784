//! Hooks come and go with interfaces, find a place beside others, and leave nothing behind.

mod blind_spots;
mod detached;
mod names;
mod neighbours;
mod pins;
mod restart;
mod selection;
mod support;
