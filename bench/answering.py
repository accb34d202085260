#!/usr/bin/env python3
"""A chat server that answers after a fixed time, and counts what it was asked. Speaks as much of OpenAI's API as `bench/calls` needs.

    bench/answering.py PORT SECONDS        0: any free port; the address is printed when it listens

    POST /v1/chat/completions              an answer with reasoning, another for every prompt and seed
    GET  /counts                           {"requests": N, "distinct": N, "replies": N}
    POST /asked                            [[prompt, seed], ...] -> how often each was asked
"""

import asyncio
import collections
import hashlib
import json
import sys


class Server(asyncio.Protocol):
    asked = collections.Counter()
    replies = 0
    delay = 0.05

    def connection_made(self, transport):
        self.transport = transport
        self.buffer = b""

    def data_received(self, data):
        self.buffer += data
        while True:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.buffer[:end].decode("latin-1")
            length = 0
            for line in head.split("\r\n")[1:]:
                name, _, value = line.partition(":")
                if name.lower() == "content-length":
                    length = int(value)
            if len(self.buffer) < end + 4 + length:
                return
            body = self.buffer[end + 4 : end + 4 + length]
            self.buffer = self.buffer[end + 4 + length :]
            self.handle(head.split(" ", 2)[1], body)

    def handle(self, path, body):
        if path == "/counts":
            counts = {"requests": sum(Server.asked.values()), "distinct": len(Server.asked), "replies": Server.replies}
            self.send(counts)
        elif path == "/asked":
            self.send([Server.asked[(prompt, seed)] for prompt, seed in json.loads(body)])
        else:
            request = json.loads(body)
            call = (request["messages"][-1]["content"], request["seed"])
            Server.asked[call] += 1
            asyncio.get_running_loop().call_later(Server.delay, self.reply, call)

    def reply(self, call):
        if self.transport.is_closing():
            return
        Server.replies += 1
        words = hashlib.sha256(repr(call).encode()).hexdigest()
        message = {"role": "assistant", "content": f"The answer is {words[:8]}.", "reasoning_content": " ".join(words) * 4}
        self.send(
            {
                "model": "answering",
                "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
                "usage": {"prompt_tokens": 20, "completion_tokens": 200},
            }
        )

    def send(self, value):
        body = json.dumps(value).encode()
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


async def main():
    port, Server.delay = int(sys.argv[1]), float(sys.argv[2])
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", port, backlog=1024)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
