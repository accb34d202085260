//! The words of the world. What they mean is dealt by the seed (`rule`), not by English.

pub const VERBS: [&str; 40] = [
    "heat", "open", "fold", "wash", "paint", "cut", "mix", "lift", "press", "shake", "dry", "cool",
    "spin", "pull", "push", "soak", "tie", "wrap", "bend", "polish", "drop", "roll", "stack",
    "sort", "scrape", "brush", "fill", "drain", "tap", "twist", "stretch", "carve", "sand", "glue",
    "load", "seal", "dip", "toss", "rub", "stir",
];

pub const EFFECTS: [&str; 8] = [
    "scorch", "flood", "crack", "stain", "freeze", "dent", "rust", "tear",
];

pub const OBJECTS: [&str; 96] = [
    "lamp", "cup", "plate", "bottle", "mirror", "bowl", "vase", "spoon", "fork", "knife", "pan",
    "kettle", "key", "coin", "bell", "chain", "ring", "shirt", "scarf", "towel", "curtain",
    "blanket", "glove", "sock", "hat", "coat", "book", "card", "map", "letter", "poster", "ticket",
    "apple", "bread", "cheese", "cake", "onion", "carrot", "lemon", "potato", "rose", "fern",
    "cactus", "tulip", "moss", "ivy", "doll", "kite", "ball", "puppet", "puzzle", "drum", "chair",
    "table", "shelf", "door", "ladder", "bench", "desk", "stool", "brick", "tile", "statue",
    "pebble", "candle", "lantern", "torch", "stove", "heater", "engine", "battery", "radio",
    "phone", "clock", "camera", "printer", "keyboard", "speaker", "antenna", "belt", "saddle",
    "boot", "wallet", "purse", "tent", "rope", "umbrella", "pillow", "carpet", "broom", "wagon",
    "bicycle", "boat", "flute", "guitar", "piano",
];

pub const CATEGORIES: [&str; 12] = [
    "glass", "metal", "cloth", "paper", "food", "plant", "toy", "wood", "stone", "fuel", "wire",
    "leather",
];

/// What a request is for; told only where three facts decide.
pub const PURPOSES: [&str; 9] = [
    "party", "school", "market", "museum", "harbor", "parade", "clinic", "festival", "library",
];

pub const NATURES: [&str; 3] = ["public", "private", "solemn"];

pub const TOOLS: [&str; 8] = [
    "tongs", "funnel", "chisel", "sponge", "ladle", "clamp", "roller", "needle",
];

pub const MANNERS: [&str; 12] = [
    "slowly",
    "gently",
    "firmly",
    "quickly",
    "evenly",
    "twice",
    "sideways",
    "softly",
    "carefully",
    "lightly",
    "briefly",
    "warmly",
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

pub const BOX_ADJECTIVES: [&str; 12] = [
    "red", "blue", "green", "yellow", "black", "white", "round", "square", "large", "small",
    "heavy", "striped",
];

pub const BOX_NOUNS: [&str; 8] = [
    "box", "crate", "drawer", "sack", "barrel", "trunk", "jar", "tin",
];

/// Code words are `<first><second>`; each half is a token, so an unseen code word is made of seen tokens.
pub const FIRST_SYLLABLES: [&str; 20] = [
    "zi", "ka", "mo", "lu", "te", "ri", "vo", "ba", "su", "ne", "gu", "fi", "du", "pa", "xe", "ly",
    "mi", "hu", "jo", "ce",
];

pub const SECOND_SYLLABLES: [&str; 20] = [
    "-bo", "-ra", "-ti", "-ku", "-le", "-na", "-do", "-si", "-ve", "-pu", "-go", "-ma", "-lo",
    "-xi", "-fe", "-zu", "-to", "-ha", "-ny", "-wi",
];

/// The lists whose words stand in running text, each with a space before it.
pub(super) const LISTS: [&[&str]; 14] = [
    &VERBS,
    &EFFECTS,
    &OBJECTS,
    &CATEGORIES,
    &PURPOSES,
    &NATURES,
    &TOOLS,
    &MANNERS,
    &FINISHES,
    &ROLE_ADJECTIVES,
    &ROLE_NOUNS,
    &BOX_ADJECTIVES,
    &BOX_NOUNS,
    &FIRST_SYLLABLES,
];
