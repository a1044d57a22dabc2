//! `ntc top`: what passes here, live, in a terminal.

mod draw;
mod figures;
mod keys;
mod picture;

use std::{
    io::{IsTerminal as _, stdout},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, bail};
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyEventKind},
};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

use crate::{
    api::{client::Client, listen::socket_of},
    cli::TopArgs,
};
use keys::{State, Step};
use picture::Picture;

/// Key presses that wait to be looked at.
const KEYS: usize = 64;

/// Runs the verb.
///
/// # Errors
/// No terminal, or no agent at the start.
pub fn run(args: &TopArgs) -> anyhow::Result<ExitCode> {
    if !stdout().is_terminal() {
        bail!("ntc top draws on a terminal; `ntc flows --watch` and `ntc stats` write lines");
    }
    let socket = args.api_socket.clone().unwrap_or_else(|| socket_of(&args.pins.pin_dir));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")?;
    runtime.block_on(async {
        let mut client = Client::new(&socket);
        let state = State::default();
        // Before the screen is taken: whoever has no agent reads that on the screen that he had.
        let first = Picture::take(&mut client, &state, None).await?;
        let mut terminal = ratatui::try_init().context("the terminal")?;
        let outcome = watch(&mut terminal, client, state, first, Duration::from_secs(args.interval)).await;
        ratatui::restore();
        outcome
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn watch(
    terminal: &mut DefaultTerminal,
    mut client: Client,
    mut state: State,
    first: Picture,
    every: Duration,
) -> anyhow::Result<()> {
    let mut keys = key_presses()?;
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut picture = first;
    loop {
        terminal.draw(|frame| draw::all(frame, &picture, &mut state))?;
        let step = tokio::select! {
            _ = tick.tick() => if state.paused { Step::Draw } else { Step::Look },
            event = keys.recv() => match event {
                Some(Event::Key(key)) if key.kind == KeyEventKind::Press => state.key(key),
                Some(_) => Step::Draw,
                None => return Ok(()),
            },
        };
        match step {
            Step::Draw => {}
            Step::End => return Ok(()),
            Step::Look => match Picture::take(&mut client, &state, Some(&picture)).await {
                Ok(new) => {
                    state.trouble = None;
                    picture = new;
                }
                // An agent that is restarted is there again in a moment.
                Err(error) => state.trouble = Some(format!("{error:#}")),
            },
        }
    }
}

/// Reads the terminal on a thread of its own, which ends with the process.
fn key_presses() -> anyhow::Result<mpsc::Receiver<Event>> {
    let (sender, receiver) = mpsc::channel(KEYS);
    std::thread::Builder::new().name("keys".into()).spawn(move || {
        while let Ok(event) = event::read() {
            if sender.blocking_send(event).is_err() {
                return;
            }
        }
    })?;
    Ok(receiver)
}
