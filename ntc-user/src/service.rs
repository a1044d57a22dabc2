//! What the service manager is told (sd_notify(3)): that the agent is ready, that it lives, that it stops.
//! Outside a service nobody listens, and nothing happens.

use sd_notify::NotifyState;

use crate::event::Event;

/// Tells what an event means for the service manager.
pub fn tell(event: &Event) {
    let status;
    let states: &[NotifyState<'_>] = match event {
        Event::Ready(ready) => {
            status = format!("{} on {}", ready.model, ready.interfaces.join(", "));
            &[NotifyState::Ready, NotifyState::Status(&status)]
        }
        // Once a second, from the thread that beats the heart.
        Event::Stats(_) => &[NotifyState::Watchdog],
        Event::Summary(_) => &[NotifyState::Stopping],
        Event::Label(_) | Event::Interface(_) | Event::Model(_) => return,
    };
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager was not told");
    }
}
