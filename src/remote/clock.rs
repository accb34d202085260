//! What time it is at a remote. Ages of what lies there are by that clock: one's own may be an hour off, or a month.

use engine::system::clock;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::UNIX_EPOCH;

/// Told by the `Date` of every answer, to a second.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clock {
    /// Milliseconds that it is ahead of ours; nothing until somebody answered.
    ahead: Arc<Mutex<Option<i128>>>,
}

impl Clock {
    /// It is so late there now.
    pub fn hear(&self, there_ms: u64) {
        let ahead = i128::from(there_ms) - i128::from(clock::now_ms());
        *self.ahead.lock().unwrap_or_else(PoisonError::into_inner) = Some(ahead);
    }

    /// Nothing where nobody has told it.
    pub fn now_ms(&self) -> Option<u64> {
        let ahead = *self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        u64::try_from(i128::from(clock::now_ms()) + ahead?).ok()
    }
}

/// Clients that hear what time it is.
impl HttpConnector for Clock {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = ReqwestConnector::default().connect(options)?;
        let clock = self.clone();
        Ok(HttpClient::new(Listening { client, clock }))
    }
}

#[derive(Debug)]
struct Listening {
    client: HttpClient,
    clock: Clock,
}

type Answered<'a> = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'a>>;

impl HttpService for Listening {
    // As `async fn` in a trait of `async_trait`.
    fn call<'life0, 'async_trait>(&'life0 self, request: HttpRequest) -> Answered<'async_trait>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move {
            let response = self.client.execute(request).await?;
            let date = response.headers().get("date");
            let date = date.and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
            if let Some(since) = date.and_then(|date| date.duration_since(UNIX_EPOCH).ok()) {
                self.clock
                    .hear(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
            }
            Ok(response)
        })
    }
}
