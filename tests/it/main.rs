mod base;
mod recipe;
