//! The eight functions that the engine imports (`guest/shim.c`).

use std::time::{SystemTime, UNIX_EPOCH};

use are_policy::tools::Output;
use wasmtime::{Caller, Error, Extern, Linker, Result};

use super::host::{Answered, Request, not_while_loading, too_many};
use super::state::{CALLS_MAX, State};

/// Module under which they are imported.
const ARE: &str = "are";
/// Bytes of one request or report. What the tools themselves take is less.
const TEXT_BYTES_MAX: u32 = 16 << 20;

/// The imports while a file is loaded: nothing outside is reached, and nothing waits.
pub(super) fn loading(engine: &wasmtime::Engine) -> Result<Linker<State>> {
    let mut linker = common(engine)?;
    linker.func_wrap(ARE, "log", |_: Caller<'_, State>, _: u32, _: u32, _: u32| {})?;
    linker.func_wrap(ARE, "ask", |mut caller: Caller<'_, State>, at: u32, length: u32| {
        let answer = match inside(&mut caller, at, length)? {
            Ok(_) => not_while_loading(),
            Err(answer) => answer,
        };
        Ok::<u32, Error>(keep(&mut caller, answer))
    })?;
    linker.func_wrap(ARE, "begin", |_: Caller<'_, State>, _: u32, _: u32, _: u32| -> Result<()> {
        Err(Error::msg("a call was begun while a file is loaded"))
    })?;
    Ok(linker)
}

/// The imports of a call.
pub(super) fn calling(engine: &wasmtime::Engine) -> Result<Linker<State>> {
    let mut linker = common(engine)?;
    linker.func_wrap_async(ARE, "log", |mut caller: Caller<'_, State>, (stream, at, length): (u32, u32, u32)| {
        Box::new(async move {
            let text = String::from_utf8_lossy(&text(&mut caller, at, length)?).into_owned();
            let stream = if stream == 0 { "stdout" } else { "stderr" };
            let state = caller.data_mut();
            if let Some(text) = state.take_output(text)
                && let Some(room) = &state.room
            {
                (room.output)(Output { stream, text }).await;
            }
            Ok::<(), Error>(())
        })
    })?;
    linker.func_wrap_async(ARE, "ask", |mut caller: Caller<'_, State>, (at, length): (u32, u32)| {
        Box::new(async move {
            let answer = match inside(&mut caller, at, length)? {
                Err(answer) => answer,
                Ok(request) => {
                    let state = caller.data_mut();
                    match state.room.clone().filter(|_| state.count_call()) {
                        Some(room) => state.beside(request.perform(room)).await,
                        None => too_many(CALLS_MAX),
                    }
                }
            };
            Ok::<u32, Error>(keep(&mut caller, answer))
        })
    })?;
    linker.func_wrap(ARE, "begin", |mut caller: Caller<'_, State>, number: u32, at: u32, length: u32| {
        let text = text(&mut caller, at, length)?;
        let state = caller.data_mut();
        let is_one_too_many = !state.count_call();
        match Request::read(&text) {
            Ok(request) if !is_one_too_many => state.queue(number, request),
            Ok(_) => state.answer(number, Answered::inside(too_many(CALLS_MAX))),
            Err(answer) => state.answer(number, Answered::inside(answer)),
        }
        Ok::<(), Error>(())
    })?;
    Ok(linker)
}

fn common(engine: &wasmtime::Engine) -> Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    linker.func_wrap(ARE, "now", |caller: Caller<'_, State>| -> f64 {
        // The engine is set up at the beginning of time, so that it is the same bytes each time.
        if caller.data().is_setting_up {
            return 0.0;
        }
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64() * 1000.0)
    })?;
    linker.func_wrap(ARE, "random", |mut caller: Caller<'_, State>, at: u32, length: u32| {
        let to = place(&mut caller, at, length)?;
        getrandom::fill(to).map_err(|error| Error::msg(format!("no randomness: {error}")))
    })?;
    linker.func_wrap(ARE, "take", |mut caller: Caller<'_, State>, at: u32, length: u32| {
        let parcel = std::mem::take(&mut caller.data_mut().parcel);
        let to = place(&mut caller, at, length)?;
        if to.len() != parcel.len() {
            return Err(Error::msg("a parcel was taken with another length"));
        }
        to.copy_from_slice(&parcel);
        Ok(())
    })?;
    linker.func_wrap(ARE, "give", |mut caller: Caller<'_, State>, at: u32, length: u32| {
        let given = text(&mut caller, at, length)?;
        caller.data_mut().given = Some(given);
        Ok::<(), Error>(())
    })?;
    linker.func_wrap(ARE, "broken", |_: Caller<'_, State>| -> Result<()> { Err(Error::msg("the engine gave up")) })?;
    Ok(linker)
}

/// Reads a request; the answer, when the host can give it by itself or cannot read it.
fn inside(caller: &mut Caller<'_, State>, at: u32, length: u32) -> Result<Result<Request, String>> {
    let text = text(caller, at, length)?;
    Ok(Request::read(&text).and_then(|request| match request.answer_inside(&caller.data().siblings) {
        Some(answer) => Err(answer),
        None => Ok(request),
    }))
}

/// Keeps what the script takes next.
fn keep(caller: &mut Caller<'_, State>, answer: String) -> u32 {
    caller.data_mut().parcel = answer.into_bytes();
    // An answer is bounded far below; a longer one would be taken with a wrong length and refused there.
    u32::try_from(caller.data().parcel.len()).unwrap_or(u32::MAX)
}

fn text(caller: &mut Caller<'_, State>, at: u32, length: u32) -> Result<Vec<u8>> {
    if length > TEXT_BYTES_MAX {
        return Err(Error::msg(format!("more than {TEXT_BYTES_MAX} bytes were handed over at once")));
    }
    Ok(place(caller, at, length)?.to_vec())
}

/// A piece of the script's memory.
fn place<'a>(caller: &'a mut Caller<'_, State>, at: u32, length: u32) -> Result<&'a mut [u8]> {
    let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
        return Err(Error::msg("the engine has no memory"));
    };
    let (at, length) = (at as usize, length as usize);
    let data = memory.data_mut(caller);
    data.get_mut(at..).and_then(|rest| rest.get_mut(..length)).ok_or_else(|| Error::msg("a place outside of memory"))
}
