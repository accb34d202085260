//! The one thread that speaks with the scheduler, for all jobs of an engine at once: it passes on what is asked, submits, asks, ends, and
//! looks at what lies in the attempts' folders.

use super::board::Post;
use super::pace::KILLED;
use anyhow::Result;
use base::threads;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(100);

/// As long as anybody else has it.
pub fn open(post: Post) -> Result<Arc<Post>> {
    let post = Arc::new(post);
    let own: Weak<Post> = Arc::downgrade(&post);
    threads::start(move || {
        let mut looked = Instant::now();
        while let Some(post) = own.upgrade() {
            round(&post, &mut looked);
            drop(post);
            std::thread::sleep(TICK);
        }
    })?;
    Ok(post)
}

fn round(post: &Post, looked: &mut Instant) {
    post.heed();
    post.submit();
    post.find();
    let every = Duration::from_secs_f64(post.profile.ask_seconds);
    let soon = post
        .board()
        .jobs
        .values()
        .any(|job| job.cancelled.is_some());
    let due = if soon { every.min(KILLED / 10) } else { every };
    if looked.elapsed() >= due {
        post.look();
        *looked = Instant::now();
    }
    post.read();
}
