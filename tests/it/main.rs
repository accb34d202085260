mod base;
mod recipe;
mod table;
