//! How the program ends: 0 fine, 1 failed at run time, 2 bad usage or configuration.

use std::process::ExitCode;

use crate::config::Mistakes;
use crate::console;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was asked for makes no sense: mend the command line or the configuration.
    Usage(anyhow::Error),
    /// It made sense, but did not work.
    Failed(anyhow::Error),
}

/// The result of a command.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        use heliograph_agent::Error as Agent;
        use heliograph_serve::Error as Serve;
        use heliograph_store::Error as Store;
        let usage = error.chain().any(|e| {
            matches!(e.downcast_ref::<Agent>(), Some(Agent::Config { .. }))
                || matches!(e.downcast_ref::<Store>(), Some(Store::Config { .. }))
                || matches!(e.downcast_ref::<Serve>(), Some(Serve::File { .. }))
                || e.is::<Mistakes>()
        });
        if usage { Self::Usage(error) } else { Self::Failed(error) }
    }
}

impl From<Mistakes> for Failure {
    fn from(mistakes: Mistakes) -> Self {
        Self::Usage(mistakes.into())
    }
}

impl From<heliograph_store::Error> for Failure {
    fn from(error: heliograph_store::Error) -> Self {
        anyhow::Error::from(error).into()
    }
}

/// Says what went wrong, and gives the exit code.
pub(crate) fn report(outcome: Outcome) -> ExitCode {
    let (error, code) = match outcome {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Usage(error)) => (error, 2),
        Err(Failure::Failed(error)) => (error, 1),
    };
    // Whoever reads our output has read enough.
    if is_broken_pipe(&error) {
        return ExitCode::SUCCESS;
    }
    console::say(&format!("error: {error:#}"));
    ExitCode::from(code)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|e| e.downcast_ref::<console::OutputClosed>()).next().is_some()
}
