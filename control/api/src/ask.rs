//! Questions to signalling shards. A shard has a second to answer; one that is busy or gone is a 503, never a wait.

use crate::problem::{Class, Problem};
use crate::server::Api;
use ledger::{Ask, AskFailed, CallId, Reply};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

/// Asks one shard.
///
/// # Errors
/// 503 when its mailbox is full, it has gone, or it does not answer in time.
pub(crate) async fn ask<T: Send + 'static>(
    api: &Api,
    shard: usize,
    question: impl FnOnce(Reply<T>) -> Ask,
) -> Result<T, Problem> {
    let deadline = Instant::now() + api.limits.answer_timeout;
    answer(shard, put(api, shard, question)?, deadline).await
}

/// Asks all shards at once; the answers are in the order of the shards.
///
/// # Errors
/// As [`ask`], of the first shard that fails.
pub(crate) async fn ask_all<T: Send + 'static>(
    api: &Api,
    question: impl Fn(Reply<T>) -> Ask,
) -> Result<Vec<T>, Problem> {
    let deadline = Instant::now() + api.limits.answer_timeout;
    let mut waiting = Vec::new();
    for shard in 0..api.engine.shards() {
        waiting.push(put(api, shard, &question)?);
    }
    let mut answers = Vec::new();
    for (shard, receiver) in waiting.into_iter().enumerate() {
        answers.push(answer(shard, receiver, deadline).await?);
    }
    Ok(answers)
}

/// Asks the owner of a call.
///
/// # Errors
/// As [`ask`]; 404 for a call that does not exist, 409 for one that is ending.
pub(crate) async fn ask_owner<T: Send + 'static>(
    api: &Api,
    id: &str,
    question: impl FnOnce(CallId, Reply<Result<T, AskFailed>>) -> Ask,
) -> Result<T, Problem> {
    let no_call = || Problem::new(Class::NoCall, format!("there is no call {id}"));
    let call: CallId = id.parse().map_err(|_| no_call())?;
    if call.shard() >= api.engine.shards() {
        return Err(no_call());
    }
    match ask(api, call.shard(), |reply| question(call, reply)).await? {
        Ok(answer) => Ok(answer),
        Err(failed) => Err(refused(id, failed)),
    }
}

/// What a client is told of a question that a shard did not answer with what was asked for.
pub(crate) fn refused(what: &str, failed: AskFailed) -> Problem {
    match failed {
        AskFailed::NoCall => Problem::new(Class::NoCall, format!("there is no call {what}")),
        AskFailed::NoOrder => Problem::new(Class::NotFound, format!("nothing of that id goes on in {what}")),
        AskFailed::NoRoom => Problem::new(Class::NotFound, format!("there is no room {what}")),
        AskFailed::Ending => Problem::new(Class::WrongState, format!("call {what} is ending already")),
        AskFailed::WrongState(why) | AskFailed::Unsupported(why) => Problem::new(Class::WrongState, why),
        AskFailed::Elsewhere(_) => Problem::new(Class::Busy, "try again in a moment"),
    }
}

fn put<T: Send + 'static>(
    api: &Api,
    shard: usize,
    question: impl FnOnce(Reply<T>) -> Ask,
) -> Result<oneshot::Receiver<T>, Problem> {
    let (sender, receiver) = oneshot::channel();
    // A client that has gone meanwhile is no concern of the shard.
    let reply: Reply<T> = Box::new(move |answer| drop(sender.send(answer)));
    let full =
        |_| Problem::new(Class::Busy, format!("signalling shard {shard} has too many questions waiting"));
    api.engine.ask(shard, question(reply)).map_err(full)?;
    Ok(receiver)
}

async fn answer<T>(shard: usize, receiver: oneshot::Receiver<T>, deadline: Instant) -> Result<T, Problem> {
    match timeout_at(deadline, receiver).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) => Err(Problem::new(Class::Busy, format!("signalling shard {shard} is being restarted"))),
        Err(_) => Err(Problem::new(Class::Busy, format!("signalling shard {shard} did not answer in time"))),
    }
}
