//! Money, tokens, requests a minute, and the wish to stop.

use super::server::{Act, Server};
use super::{Hearing, Space, ask, asked_of, asks, chat, client, endpoint};
use pipe::base::calls::Calls;
use pipe::services::budget::{Amount, Budget, Leave};
use pipe::services::chat::{Ask, Chat, Input};
use pipe::services::client::Client;
use pipe::services::endpoint::{Endpoint, Limits, Prices};
use pipe::services::fault::Stopped;
use pipe::services::protocol::Usage;
use std::time::{Duration, Instant};

/// A thousand dollars a million tokens of answers; the good server's have ten tokens, twenty at most.
fn dear(server: &Server, dollars: Option<f64>, tokens: Option<u64>) -> Endpoint {
    Endpoint {
        prices: Prices {
            prompt: 0.0,
            cached: None,
            completion: 1000.0,
        },
        limits: Limits { dollars, tokens },
        ..endpoint(server)
    }
}

#[test]
fn a_budget_is_used_and_never_exceeded() {
    // 7 tokens of prompt and 10 of answer are told; 20 are the most of the answer, and 200 enough for the prompt.
    for (dollars, tokens, least) in [
        (Some(0.2), None, 17),
        (None, Some(600), 20),
        (Some(0.2), Some(100_000), 17),
    ] {
        let server = Server::new(|_, n| Act::Late(Duration::from_millis((n % 5) as u64)));
        let space = Space::new();
        let asked = space.ask(&dear(&server, dollars, tokens), &asks(100, 1));
        let Err(Stopped::Budget(told)) = &asked.result else {
            panic!("{:?}", asked.result)
        };
        assert!(told.contains("the budget does not cover"), "{told}");
        let calls = asked.calls;
        assert!(
            calls.dollars <= dollars.unwrap_or(f64::MAX) * (1.0 + 1e-9),
            "{calls:?}"
        );
        assert!(calls.tokens() <= tokens.unwrap_or(u64::MAX), "{calls:?}");
        // No more than could have exceeded it is left over, and everything that left was kept.
        assert!(calls.made >= least, "{calls:?}");
        assert_eq!(server.requests() as u64, calls.made);
        // Raised, it goes on from there. What was spent is told to the next client.
        let spent = Amount {
            dollars: calls.dollars,
            tokens: calls.tokens(),
        };
        let raised = dear(&server, dollars.map(|d| d * 2.0), tokens.map(|t| t * 2));
        let mut client = Client::new(chat(), raised, &space.folder(), "test", spent).unwrap();
        let result = client.all(&asks(100, 1), &mut Hearing::default());
        assert!(matches!(result, Err(Stopped::Budget(_))), "{result:?}");
        let all = client.calls().dollars + spent.dollars;
        assert!(
            all <= dollars.unwrap_or(f64::MAX) * 2.0 * (1.0 + 1e-9),
            "{all}"
        );
        assert_eq!(client.calls().reused, calls.made);
        assert!(client.calls().made >= least);
        // Without one it comes to its end.
        let rest = space.ask(&dear(&server, None, None), &asks(100, 1));
        assert_eq!(rest.answers().len(), 100);
        assert_eq!(server.requests(), 100);
    }
}

/// Two servers of one node: alone each would use all of it.
#[test]
fn a_budget_that_several_have_together_is_exceeded_by_none_of_them() {
    let server = Server::new(|_, n| Act::Late(Duration::from_millis((n % 5) as u64)));
    let space = Space::new();
    let limited = dear(&server, Some(0.2), None);
    let open = || client(chat(), &limited, &space.folder()).sharing_budget(&space.folder());
    let all = asks(100, 1);
    let (mut one, mut other) = (open().unwrap(), open().unwrap());
    let use_up = |client: &mut Client<Chat>, asks: &[Ask]| {
        let result = client.all(asks, &mut Hearing::default());
        assert!(matches!(result, Err(Stopped::Budget(_))), "{result:?}");
    };
    std::thread::scope(|scope| {
        scope.spawn(|| use_up(&mut one, &all[..50]));
        scope.spawn(|| use_up(&mut other, &all[50..]));
    });
    let spent = one.calls().dollars + other.calls().dollars;
    assert!((0.17..=0.2 + 1e-9).contains(&spent), "{spent}");
    // Who comes while one of them is there finds nothing left, whatever it believes itself.
    let made = server.requests();
    use_up(&mut open().unwrap(), &all[40..60]);
    assert_eq!(server.requests(), made);
}

/// Opened before another one spent all and went: what counts is what the journal says when the budget is begun.
#[test]
fn a_budget_begins_with_what_the_journal_says_then() {
    let server = Server::good();
    let space = Space::new();
    let limited = dear(&server, Some(0.2), None);
    let late = client(chat(), &limited, &space.folder());
    let use_up = |client: Client<Chat>, asks: &[Ask]| {
        let mut client = client.sharing_budget(&space.folder()).unwrap();
        let result = client.all(asks, &mut Hearing::default());
        assert!(matches!(result, Err(Stopped::Budget(_))), "{result:?}");
    };
    let all = asks(100, 1);
    use_up(client(chat(), &limited, &space.folder()), &all[..50]);
    let made = server.requests();
    assert!(made >= 17, "{made}");
    use_up(late, &all[50..]);
    assert_eq!(server.requests(), made);
}

/// Whoever begins asks the journal while nobody else can begin.
#[test]
fn a_budget_asks_what_was_spent_under_its_lock() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits {
        dollars: None,
        tokens: Some(100),
    };
    let new = || Budget::new(limits, Prices::default(), Amount::default());
    let (asked, hears) = std::sync::mpsc::channel();
    let (ends, ended) = std::sync::mpsc::channel::<()>();
    let spent = Amount {
        dollars: 0.0,
        tokens: 90,
    };
    std::thread::scope(|scope| {
        let (folder, new) = (dir.path(), &new);
        scope.spawn(move || {
            let slow = || {
                asked.send(()).unwrap();
                ended.recv().unwrap();
                Ok(spent)
            };
            new().share(folder, "one", slow).unwrap();
        });
        hears.recv().unwrap();
        let budgets = dir.path().join("budgets");
        let files = std::fs::read_dir(&budgets)
            .unwrap()
            .map(|e| e.unwrap().path());
        // Beside it lie the slots, each under its own lock.
        let sums: Vec<_> = files.filter(|path| path.extension().is_none()).collect();
        let [sums] = &sums[..] else {
            panic!("{sums:?}")
        };
        let sums = std::fs::File::open(sums).unwrap();
        assert!(
            sums.try_lock_shared().is_err(),
            "it is locked while it asks"
        );
        ends.send(()).unwrap();
    });
}

#[test]
fn what_a_dead_process_had_set_aside_of_a_budget_counts_as_spent() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits {
        dollars: None,
        tokens: Some(100),
    };
    let open = |tokens| {
        let spent = Amount {
            dollars: 0.0,
            tokens,
        };
        let mut budget = Budget::new(limits, Prices::default(), spent);
        let by_the_journal = || Ok(spent);
        budget
            .share(dir.path(), "rewards-1 chat", by_the_journal)
            .unwrap();
        budget
    };
    let tokens = |completion| Usage {
        completion,
        ..Usage::default()
    };
    let ask = |budget: &mut Budget, n| budget.ask(&tokens(n)).unwrap();
    let mut first = open(10);
    let mut second = open(0);
    let Leave::Go(reserved) = ask(&mut second, 60) else {
        panic!("70 of 100 are taken");
    };
    assert_eq!(ask(&mut first, 50), Leave::Wait);
    second.settle(reserved, Some(&tokens(20))).unwrap();
    let Leave::Go(_) = ask(&mut first, 50) else {
        panic!("30 of 100 are taken");
    };
    assert_eq!(ask(&mut second, 60), Leave::Wait);
    drop(first);
    assert_eq!(
        ask(&mut second, 60),
        Leave::Over,
        "nobody knows what became of 50"
    );
    assert!(matches!(ask(&mut second, 20), Leave::Go(_)));
    // Given up, and nothing of it is in flight.
    second.clear().unwrap();
    assert!(matches!(ask(&mut second, 20), Leave::Go(_)));
    drop(second);
    // Alone again: what counts is what the journal says.
    let mut third = open(30);
    assert!(matches!(ask(&mut third, 70), Leave::Go(_)));
}

/// Five answers of another service of the same node, a cent each.
fn others(server: &Server, space: &Space) -> Calls {
    let plain = Chat {
        plain: true,
        ..chat()
    };
    let text = |i: usize| Ask {
        input: Input::Text(format!("t{i}")),
        sample: 0,
    };
    let asks: Vec<Ask> = (0..5).map(text).collect();
    asked_of(plain, &dear(server, None, None), &space.folder(), &asks).calls
}

/// What a node spent on one service is nothing of another's budget; what nobody can say of which it was counts for both.
#[test]
fn a_budget_is_that_of_its_own_service() {
    let server = Server::good();
    let space = Space::new();
    let others = others(&server, &space);
    let own = space.ask(&dear(&server, None, None), &asks(3, 1)).calls;
    // Three answers of ten tokens at a thousand dollars a million.
    assert!((own.dollars - 0.03).abs() < 1e-12, "{own:?}");
    assert!((others.dollars - 0.05).abs() < 1e-12, "{others:?}");
    // A next attempt, of which each is told all that the node spent. One more is within the budget at its most (0.02), a second is not.
    let next = |extra: f64, dollars: f64| {
        let spent = Amount {
            dollars: own.dollars + others.dollars + extra,
            tokens: own.tokens() + others.tokens(),
        };
        let limited = dear(&server, Some(dollars), None);
        let mut client = Client::new(chat(), limited, &space.folder(), "test", spent).unwrap();
        let result = client.all(&asks(4, 1), &mut Hearing::default());
        match result {
            Ok(answers) => Ok(answers.len()),
            Err(Stopped::Budget(told)) => Err(told),
            Err(other) => panic!("{other:?}"),
        }
    };
    let told = next(0.0, 0.049).unwrap_err();
    assert!(told.contains("$0.0300 of $0.0490 are spent"), "{told}");
    let told = next(0.01, 0.055).unwrap_err();
    assert!(told.contains("$0.0400 of $0.0550 are spent"), "{told}");
    assert_eq!(next(0.0, 0.0505), Ok(4));
}

/// The journal also has answers of attempts that are over and not counted, of this service and of others.
#[test]
fn a_budget_counts_no_more_than_what_was_spent_and_no_less_than_its_own() {
    let server = Server::good();
    let space = Space::new();
    others(&server, &space);
    space.ask(&dear(&server, None, None), &asks(3, 1)).answers();
    let spent = Amount {
        dollars: 0.02,
        tokens: 34,
    };
    let limited = dear(&server, Some(0.0295), None);
    let mut client = Client::new(chat(), limited, &space.folder(), "test", spent).unwrap();
    let result = client.all(&asks(4, 1), &mut Hearing::default());
    let Err(Stopped::Budget(told)) = result else {
        panic!("{result:?}")
    };
    assert!(told.contains("$0.0200 of $0.0295 are spent"), "{told}");
}

#[test]
fn a_budget_for_nothing_asks_nobody() {
    let server = Server::good();
    let asked = Space::new().ask(&dear(&server, Some(0.0), None), &asks(3, 1));
    assert!(matches!(asked.result, Err(Stopped::Budget(_))));
    assert_eq!(server.connections(), 0);
}

#[test]
fn paid_answers_are_waited_for_when_the_budget_ends() {
    // Room for three at their most; they are in flight when the fourth is refused.
    let server = Server::new(|_, _| Act::Late(Duration::from_millis(150)));
    let space = Space::new();
    let exact = Endpoint {
        prices: Prices {
            prompt: 0.0,
            cached: None,
            completion: 1000.0,
        },
        limits: Limits {
            dollars: Some(0.031),
            tokens: None,
        },
        ..endpoint(&server)
    };
    let asked = space.ask(&exact, &asks(9, 1));
    assert!(matches!(asked.result, Err(Stopped::Budget(_))));
    assert_eq!((asked.calls.made, server.requests()), (2, 2));
    let again = space.ask(&exact, &asks(2, 1));
    assert_eq!(again.calls.reused, 2);
}

#[test]
fn failures_are_not_charged_and_reservations_are_given_back() {
    let mut acts = vec![Act::Say(500, vec![], String::new()); 6];
    acts.extend(vec![Act::Reset; 2]);
    let server = Server::script(&acts);
    // One at a time at its most, several over time.
    let asked = Space::new().ask(&dear(&server, Some(0.05), None), &asks(4, 1));
    assert_eq!(asked.calls.made, 4);
    assert!(
        (asked.calls.dollars - 0.04).abs() < 1e-12,
        "{:?}",
        asked.calls
    );
    assert!(asked.result.is_ok());
}

/// Two clients on one folder, host and key share a limit; another host has its own.
#[test]
fn clients_share_a_limit_a_minute() {
    let server = Server::good();
    let space = Space::new();
    // One every 10 ms, and two seconds of them at once.
    let paced = Endpoint {
        requests_per_minute: Some(6000.0),
        ..endpoint(&server)
    };
    let requests = 260;
    let of = |name: &str| {
        let asks: Vec<_> = (0..requests / 2)
            .map(|i| ask(&format!("{name}{i}"), 0))
            .collect();
        space.ask(&paced, &asks).answers();
    };
    let began = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| of("a"));
        scope.spawn(|| of("b"));
    });
    let took = began.elapsed().as_secs_f64();
    // The burst is 200 and the first.
    let least = (requests - 201) as f64 * 0.01;
    assert!(
        took >= least,
        "{took} s for {requests} requests, {least} s at least"
    );
    let times: Vec<f64> = server
        .seen()
        .iter()
        .map(|seen| seen.at.as_secs_f64())
        .collect();
    assert_eq!(times.len(), requests);
    // In no second more than a second's and the burst.
    for (i, from) in times.iter().enumerate() {
        let within = times[i..].iter().filter(|at| **at < from + 0.3).count();
        assert!(within <= 30 + 201 + 8, "{within} within 0.3 s");
    }
}

#[test]
fn tokens_a_minute_are_those_that_came() {
    let server = Server::good();
    // 17 tokens come of a request that is expected to have 30 or so: the limit is by what came.
    let paced = Endpoint {
        tokens_per_minute: Some(60_000.0),
        concurrency: 1,
        ..endpoint(&server)
    };
    let began = Instant::now();
    Space::new().ask(&paced, &asks(180, 1)).answers();
    let took = began.elapsed().as_secs_f64();
    // 180 × 17 tokens are 3.06 s of the limit, of which two are the burst.
    assert!((1.0..8.0).contains(&took), "{took}");
}

#[test]
fn whoever_waits_for_a_limit_stops_at_once() {
    let server = Server::good();
    let paced = Endpoint {
        requests_per_minute: Some(2.0),
        ..endpoint(&server)
    };
    let mut hearing = Hearing {
        stop_at: Some(1),
        ..Hearing::default()
    };
    let mut client = client(chat(), &paced, Space::new().folder().as_path());
    let began = Instant::now();
    let result = client.all(&asks(5, 1), &mut hearing);
    assert!(matches!(result, Err(Stopped::Asked)), "{result:?}");
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(server.requests(), 1);
}

#[test]
fn stop_waits_for_what_is_in_flight_and_for_nothing_else() {
    let server = Server::new(|_, _| Act::Late(Duration::from_millis(100)));
    let space = Space::new();
    let mut hearing = Hearing {
        stop_at: Some(8),
        ..Hearing::default()
    };
    let mut client = client(chat(), &endpoint(&server), &space.folder());
    let began = Instant::now();
    let result = client.all(&asks(400, 1), &mut hearing);
    assert!(matches!(result, Err(Stopped::Asked)), "{result:?}");
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    // Everything that was asked was kept.
    assert_eq!(client.calls().made as usize, server.requests());
    assert!(server.requests() < 40, "{}", server.requests());
    let again = space.ask(&endpoint(&server), &asks(server.requests(), 1));
    assert_eq!(again.calls.reused, client.calls().made);
    assert_eq!(again.calls.made, 0);
}

#[test]
fn a_pause_is_said_and_broken_off() {
    let server = Server::script(&[Act::Say(
        429,
        vec![("Retry-After", "600".into())],
        "slow".into(),
    )]);
    let mut hearing = Hearing::default();
    let stop = Instant::now();
    let space = Space::new();
    let mut client = client(chat(), &endpoint(&server), &space.folder());
    struct Until<'a>(&'a mut Hearing, Instant);
    impl pipe::services::client::CallObserver for Until<'_> {
        fn stop(&self) -> bool {
            self.1.elapsed() > Duration::from_millis(300)
        }
        fn progress(&mut self, done: usize, total: usize, calls: &pipe::base::calls::Calls) {
            self.0.progress(done, total, calls);
        }
        fn say(&mut self, text: &str) {
            self.0.say(text);
        }
    }
    let result = client.all(&[ask("why", 0)], &mut Until(&mut hearing, stop));
    assert!(matches!(result, Err(Stopped::Asked)), "{result:?}");
    assert!(stop.elapsed() < Duration::from_secs(5));
    assert_eq!(hearing.said.len(), 1, "{:?}", hearing.said);
    assert!(
        hearing.said[0].contains("is busy, a pause of 600.0 s: 429 Too Many Requests: slow"),
        "{:?}",
        hearing.said
    );
}
