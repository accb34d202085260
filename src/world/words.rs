//! The words of the world. What they mean is dealt by the seed (`rule`), not by English.

pub const VERBS: [&str; 32] = [
    "heat", "open", "fold", "wash", "paint", "cut", "mix", "lift", "press", "shake", "dry", "cool",
    "spin", "pull", "push", "soak", "tie", "wrap", "bend", "polish", "drop", "roll", "stack",
    "sort", "scrape", "brush", "fill", "drain", "tap", "twist", "stretch", "carve",
];

pub const EFFECTS: [&str; 8] = [
    "scorch", "flood", "crack", "stain", "freeze", "dent", "rust", "tear",
];

pub const OBJECTS: [&str; 24] = [
    "lamp", "cup", "plate", "bottle", "mirror", "bowl", "vase", "spoon", "fork", "knife", "pan",
    "kettle", "key", "coin", "bell", "chain", "ring", "shirt", "scarf", "towel", "curtain",
    "blanket", "glove", "sock",
];

pub const CATEGORIES: [&str; 8] = [
    "glass", "metal", "cloth", "paper", "food", "plant", "toy", "wood",
];

pub const PERSONS: [&str; 24] = [
    "anna", "bob", "carl", "dora", "emil", "fay", "gus", "hana", "igor", "june", "kurt", "lena",
    "milo", "nora", "otto", "pia", "quin", "rosa", "sven", "tara", "ugo", "vera", "walt", "xena",
];

/// How one person leads to another. As it stands in a text it is one token: `anna's aunt` is two.
pub const RELATIONS: [&str; 4] = ["'s friend", "'s boss", "'s aunt", "'s neighbor"];

pub const GUILDS: [&str; 6] = ["mason", "weaver", "smith", "miller", "tanner", "cooper"];

pub const TOOLS: [&str; 8] = [
    "tongs", "funnel", "chisel", "sponge", "ladle", "clamp", "roller", "needle",
];

pub const MANNERS: [&str; 8] = [
    "slowly", "gently", "firmly", "quickly", "evenly", "twice", "sideways", "softly",
];

pub const FINISHES: [&str; 8] = [
    "rinse", "cover", "wait", "label", "store", "measure", "air", "rest",
];

pub const ROLE_ADJECTIVES: [&str; 16] = [
    "brave", "quiet", "clever", "happy", "merry", "curious", "gentle", "proud", "silly", "wise",
    "tiny", "famous", "lonely", "noble", "sleepy", "cheerful",
];

pub const ROLE_NOUNS: [&str; 16] = [
    "wizard", "sailor", "robot", "pirate", "farmer", "king", "ghost", "painter", "dragon", "poet",
    "teacher", "knight", "baker", "clown", "hunter", "doctor",
];

/// What may stand for a verb: one token each, so that what it stands for is told by its place and by nothing else. Few, so that a
/// base model sees each of them often enough to learn that it may stand for anything.
pub const CODES: [&str; 10] = [
    "zibo", "kara", "moti", "luku", "tebo", "rira", "voti", "baku", "suna", "nero",
];

/// What an object may be in.
pub const BOXES: [&str; 10] = [
    "box", "crate", "drawer", "sack", "barrel", "trunk", "jar", "tin", "basket", "chest",
];

/// The lists whose words stand in running text, each with a space before it.
pub(super) const LISTS: [&[&str]; 13] = [
    &VERBS,
    &EFFECTS,
    &OBJECTS,
    &CATEGORIES,
    &PERSONS,
    &GUILDS,
    &TOOLS,
    &MANNERS,
    &FINISHES,
    &ROLE_ADJECTIVES,
    &ROLE_NOUNS,
    &CODES,
    &BOXES,
];
