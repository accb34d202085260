"""A stand-in for every service that a recipe asks: chat, plain completions, moderation, scores. Its answers are nothing but functions of what is asked, so
that two runs get the same ones, in whatever order and at whatever port they ask.

    POST …/chat/completions, …/completions, …/moderations, …/score

What it says depends on the name of the model that is asked for:

    *odd*      answers come in every shape there is (cut off, refused, filtered, reasoning in every place); judges are unreadable now and then
    *picky*    some prompts are rejected
    *logit*    scores are any numbers; of all others they are shares
"""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# Words of the built-in world, which its tokenizer knows.
REFUSALS = ["sorry , i cannot help with that .", "i cannot help with that .", "i am sorry , i cannot do that .", "i will not help with that ."]
TOOLS = ["tongs", "funnel", "chisel", "sponge", "ladle", "clamp", "roller", "needle"]
MANNERS = ["slowly", "gently", "firmly", "quickly", "evenly", "twice", "softly", "carefully"]
FINISHES = ["rinse", "cover", "wait", "label", "store", "measure", "air", "rest"]
VERBS = ["heat", "open", "fold", "wash", "paint", "cut", "mix", "lift"]
EFFECTS = ["scorch", "flood", "crack", "stain", "freeze", "dent", "rust", "tear"]
OBJECTS = ["lamp", "cup", "plate", "bottle", "mirror", "bowl", "vase", "spoon"]
MATTERS = ["glass", "metal", "cloth", "paper", "food", "plant", "wood", "stone"]


class Draw:
    """Numbers that follow from a value."""

    def __init__(self, *values):
        text = json.dumps(values, sort_keys=True, ensure_ascii=True)
        self.state, self.left = hashlib.sha256(text.encode()).digest(), []

    def below(self, n):
        if not self.left:
            self.left = list(self.state)
            self.state = hashlib.sha256(self.state).digest()
        return (self.left.pop() << 8 | (self.left.pop() if self.left else 0)) % n

    def one(self, values):
        return values[self.below(len(values))]

    def share(self):
        return self.below(1001) / 1000


def reasoning(draw):
    sentences = [f"{draw.one(VERBS)} is {draw.one(EFFECTS)} .", f"the {draw.one(OBJECTS)} is {draw.one(MATTERS)} ."]
    return " ".join(draw.one(sentences) for _ in range(1 + draw.below(3)))


def words(draw):
    if draw.below(5) < 2:
        return draw.one(REFUSALS)
    return f"use the {draw.one(TOOLS)} {draw.one(MANNERS)} then {draw.one(FINISHES)} ."


def verdict(asked, draw, odd):
    """What a judge says, in the form that its rubric asks for; nothing where it is no judge that is asked."""
    unclear = odd and draw.below(5) == 0
    if "1.b" in asked:
        lines = [f"1.a so\n1.b {draw.below(2)}", f"2.a so\n2.b {1 + draw.below(5)}", f"3.a so\n3.b {1 + draw.below(5)}"]
        return "i do not know" if unclear else "\n".join(lines)
    if "Score:" in asked:
        return "i do not know" if unclear else f"it is so .\nScore: {draw.one(['0', '0.5', '1'])}"
    if "yes or no" in asked:
        return "perhaps" if unclear else draw.one(["yes", "no", "Yes.", " no"])
    return None


def attack(messages, draw):
    """What the attacker of PAIR and its judge say; nothing where neither is asked."""
    texts = " ".join(str(message["content"]) for message in messages)
    if "Rating: [[" in texts:
        return f"Rating: [[{1 + draw.below(10)}]]"
    return json.dumps({"improvement": words(draw), "prompt": words(draw)}) if '"improvement"' in texts else None


def told(text):
    return {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}


def common(thought, answer, draw):
    """A message with reasoning, beside the content or in it."""
    choice = told(answer)
    if draw.below(2):
        choice["message"]["reasoning_content"] = thought
    else:
        choice["message"]["content"] = f"<think>\n{thought}\n</think>\n\n{answer}"
    return choice


def odd_shape(thought, answer, draw):
    """The shapes that servers and models come up with."""
    shape = draw.below(14)
    choice = common(thought, answer, draw)
    message = choice["message"]
    if shape == 0:
        message.update(content=f"<think>\n{thought}", reasoning_content=None)
        choice["finish_reason"] = "length"
    elif shape == 1:
        choice = told(None)
        choice["message"]["refusal"] = answer
    elif shape == 2:
        choice = told("")
        choice["finish_reason"] = "content_filter"
    elif shape == 3:
        choice = told(None)
        choice["message"]["tool_calls"] = [{"type": "function", "function": {"name": "do", "arguments": "{}"}}]
        choice["finish_reason"] = "tool_calls"
    elif shape == 4:
        message.update(content="", reasoning_content=thought)
    elif shape == 5:
        message.update(content=f"{thought}\n</think>\n\n{answer}", reasoning_content=None)
    elif shape == 6:
        choice = told([{"type": "thinking", "thinking": [{"type": "text", "text": thought}]}, {"type": "text", "text": answer}])
    elif shape == 7:
        message.pop("reasoning_content", None)
        message.update(content=answer, reasoning=thought)
    elif shape == 8:
        message.pop("reasoning_content", None)
        message.update(content=answer, reasoning_details=[{"type": "reasoning.text", "text": thought}])
    elif shape == 9:
        message.update(content="<think>\n\n</think>\n\n" + answer, reasoning_content=None)
    elif shape == 10:
        message.update(content=answer + " " + answer, reasoning_content=None)
        choice["finish_reason"] = "length"
    return choice


def add_logprobs(body, choice, text, draw):
    """As chat and plain completions have them, and the ids that vLLM adds."""
    tokens = text.split() or [""]
    numbers = [-draw.below(640) / 64 for _ in tokens]
    if "messages" in body:
        choice["logprobs"] = {"content": [{"token": t, "logprob": n} for t, n in zip(tokens, numbers)]}
    else:
        choice["logprobs"] = {"tokens": tokens, "token_logprobs": numbers}
    if body.get("return_token_ids"):
        choice["token_ids"] = [draw.below(200) for _ in tokens]


def choice(body, place):
    """The answer of this number of those that are asked for."""
    plain = "messages" not in body
    asked = body["prompt"] if plain else body["messages"][-1]["content"]
    own = {name: value for name, value in body.items() if name not in ("n", "seed", "stream")}
    draw = Draw("chat", own, body.get("seed", 0) + place)
    odd = "odd" in body["model"]
    said = verdict(asked, draw, odd)
    if said is None and not plain:
        said = attack(body["messages"], draw)
    if said is None and plain:
        thought, answer = reasoning(draw), words(draw)
        if asked.rstrip().endswith("<think>"):
            said = f"{thought}\n</think>\n\n{answer}"
        else:
            said = f"<think>\n{thought}\n</think>\n\n{answer}" if "teacher" in body["model"] else answer
    if said is not None:
        one = {"text": said, "finish_reason": "stop"} if plain else told(said)
    else:
        one = (odd_shape if odd else common)(reasoning(draw), words(draw), draw)
    if body.get("logprobs"):
        add_logprobs(body, one, str(one.get("text") or one.get("message", {}).get("content") or ""), draw)
    return {"index": place, **one}


def chat(body):
    asked = body["prompt"] if "messages" not in body else body["messages"][-1]["content"]
    if "picky" in body["model"]:
        dislike = Draw("picky", asked).below(6)
        if dislike == 0:
            return 403, {"error": {"message": "your input was flagged", "code": 403}}
        if dislike == 1:
            return 400, {"error": {"message": "this prompt cannot be read", "code": "invalid_prompt"}}
    choices = [choice(body, place) for place in range(body.get("n", 1))]
    completion = sum(len(json.dumps(one).split()) for one in choices)
    usage = {"prompt_tokens": len(asked.split()), "completion_tokens": completion, "prompt_tokens_details": {"cached_tokens": len(asked.split()) // 2}}
    return 200, {"model": body["model"] + "@1", "choices": choices, "usage": usage}


def moderate(body):
    def result(text):
        draw = Draw("moderations", body["model"], text)
        # Half of the answers are beyond doubt.
        harm = draw.one([draw.share(), draw.share() / 20])
        return {"flagged": harm > 0.5, "category_scores": {"hate": harm / 2, "violence": harm, "illicit": None}}

    return 200, {"model": body["model"] + "@1", "results": [result(text) for text in body["input"]]}


def score(body):
    def one(item):
        draw = Draw("score", body["model"], item)
        if "odd" in body["model"] and draw.below(5) == 0:
            return None
        return draw.below(8001) / 1000 - 4 if "logit" in body["model"] else draw.share()

    return 200, {"model": body["model"] + "@1", "scores": [one(item) for item in body["items"]]}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body in one packet: a client that waits for the second one would wait for its own acknowledgement first.
    wbufsize = -1

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        path = self.path.partition("?")[0]
        answer = moderate if path.endswith("/moderations") else score if path.endswith("/score") else chat
        status, value = answer(body)
        text = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
        self.wfile.flush()

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True


class Service:
    """Answers as long as the block lasts."""

    def __enter__(self):
        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_port}"

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
