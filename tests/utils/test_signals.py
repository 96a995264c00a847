import signal

import pytest

from research.utils.signals import SIGNALS, noticed_signals


@pytest.fixture(autouse=True)
def handlers():
    """A handler for each signal, since a test run that is in the background ignores some of them."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in SIGNALS}
    yield dict.fromkeys(SIGNALS, signal.default_int_handler)
    for number, handler in before.items():
        signal.signal(number, handler)


def give_up(number):
    raise AssertionError(number)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_a_value_and_its_handler_comes_back(number, handlers):
    with noticed_signals(give_up) as received:
        assert received() is None
        signal.raise_signal(number)
        assert received() == number
    assert {number: signal.getsignal(number) for number in SIGNALS} == handlers


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_that_is_ignored_stays_ignored(number):
    signal.signal(number, signal.SIG_IGN)
    with noticed_signals(give_up) as received:
        signal.raise_signal(number)
        assert received() is None
        assert signal.getsignal(number) == signal.SIG_IGN
        signal.raise_signal(signal.SIGUSR1 if number != signal.SIGUSR1 else signal.SIGHUP)
        assert received() is not None
    assert signal.getsignal(number) == signal.SIG_IGN
