"""`are chat` at a terminal: `chat.py ARE PROJECT ENVIRONMENT-AS-JSON`.

Drives the program over a pseudo-terminal, as a person does: lines with an
editor and a history, questions about calls, interrupts. The provider beside it
answers what the test has scripted. What is waited for is text on the screen;
running out of patience is a failure that shows all of it.
"""

import fcntl
import json
import os
import pty
import select
import struct
import sys
import termios
import time

# Longer than anything here takes on a busy machine; reaching it is a failure.
PATIENCE_S = 60
INTERRUPT, END, UP = "\x03", "\x04", "\x1b[A"


class Terminal:
    """The program, what stood on the screen, and how far that was read."""

    def __init__(self, are, project, env, *args):
        self.screen, self.at = "", 0
        self.process, self.tty = pty.fork()
        if self.process == 0:
            os.chdir(project)
            os.execve(are, [are, *args], env)
        fcntl.ioctl(self.tty, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))

    def read(self, until):
        """One piece of what comes; false at the end or when there is no time left."""
        ready, _, _ = select.select([self.tty], [], [], max(until - time.monotonic(), 0))
        if not ready:
            return False
        try:
            piece = os.read(self.tty, 65536)
        except OSError:
            return False  # The other side is gone.
        self.screen += piece.decode(errors="replace")
        return bool(piece)

    def see(self, words):
        """Waits for words behind those that were seen before."""
        until = time.monotonic() + PATIENCE_S
        while (found := self.screen.find(words, self.at)) < 0:
            if not self.read(until):
                raise AssertionError(f"`{words}` did not come; the screen:\n{self.screen}")
        self.at = found + len(words)

    def type(self, keys):
        os.write(self.tty, keys.encode())

    def prompt(self):
        self.see("> ")

    def ends(self, code):
        until = time.monotonic() + PATIENCE_S
        while self.read(until):
            pass
        _, status = os.waitpid(self.process, 0)
        os.close(self.tty)
        assert os.waitstatus_to_exitcode(status) == code, (status, self.screen)


def conversation(start):
    chat = start("chat")
    chat.see("ends the conversation")
    chat.prompt()
    chat.type("first question\r")
    chat.see("one.")
    chat.prompt()
    # An interrupt drops what was being written, and a key brings back what was said.
    chat.type("never sent" + INTERRUPT)
    chat.see("interrupt again")
    chat.prompt()
    chat.type(UP + "\r")
    chat.see("two.")
    chat.prompt()
    # A call that asks shows what it would do, and waits.
    chat.type("help me\r")
    chat.see("https://example.org/")
    chat.see("allow?")
    chat.prompt()
    chat.type("n\r")
    chat.see("I may not.")
    chat.prompt()
    # An interrupt at the question stops the turn, as one anywhere else in it does.
    chat.type("help me again\r")
    chat.see("allow?")
    chat.prompt()
    chat.type(INTERRUPT)
    chat.see("stopping")
    chat.prompt()
    chat.type("a long story\r")
    chat.see("so far")
    chat.type(INTERRUPT)
    chat.see("stopping")
    chat.prompt()
    chat.type(INTERRUPT)
    chat.see("interrupt again")
    chat.prompt()
    chat.type(INTERRUPT)
    chat.ends(130)
    return chat.screen


def goes_on(start):
    """The history of a session that goes on is what was said in it."""
    chat = start("chat", "--continue")
    chat.see("ends the conversation")
    chat.prompt()
    chat.type(UP + UP + UP + UP + "\r")
    chat.see("three.")
    chat.prompt()
    chat.type(END)
    chat.ends(0)


def main():
    are, project, env = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    env["TERM"] = "xterm-256color"

    def start(*args):
        return Terminal(are, project, env, *args)

    screen = conversation(start)
    assert "\x1b[2m" in screen, "words about the turn are held back in colour"
    goes_on(start)
    env["NO_COLOR"] = "1"
    plain = start("chat", "--continue")
    plain.see("ends the conversation")
    plain.prompt()
    plain.type("plainly\r")
    plain.see("**four**")
    plain.prompt()
    plain.type(END)
    plain.ends(0)
    assert "\x1b[2m" not in plain.screen and "\x1b[1m" not in plain.screen, plain.screen
    print("the terminal works")


if __name__ == "__main__":
    main()
