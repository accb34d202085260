//! What is said of a folder whose server hangs.

use pipe::engine::system::silence::{Heard, free, tell};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_millis(200);

#[test]
fn a_silence_is_told_once_and_so_is_its_end() {
    let (held, waits) = mpsc::channel::<()>();
    let waits = Mutex::new(waits);
    let (say, heard) = mpsc::channel();
    let over = Arc::new(AtomicBool::new(false));
    // Every answer is waited for until the other side gives it.
    let ask = move || {
        let _ = waits.lock().unwrap().recv();
    };
    tell(PATIENCE, over.clone(), ask, move |told| {
        let _ = say.send(told);
    })
    .unwrap();
    for _ in 0..2 {
        let Heard::Nothing(silent) = heard.recv().unwrap() else {
            panic!("there was an answer");
        };
        assert!(silent > PATIENCE);
        assert!(heard.recv_timeout(3 * PATIENCE).is_err(), "it is told once");
        held.send(()).unwrap();
        let Heard::Again(took) = heard.recv().unwrap() else {
            panic!("there was no answer");
        };
        assert!(took >= silent);
    }
    over.store(true, Ordering::Relaxed);
    drop(held);
}

#[test]
fn a_folder_says_what_is_free() {
    let dir = tempfile::tempdir().unwrap();
    assert!(free(dir.path()).is_some_and(|bytes| bytes > 0));
    assert_eq!(free(&dir.path().join("not there")), None);
}
