"""The rewards that a recipe declares, asked of `pipe serve rewards RECIPE NODE`. Standard library only: any trainer can use it.

    rewards = ServedRewards("http://127.0.0.1:8018", expect={"harmful": "format * safety"})
    rewards([{"class": "harmful", "prompt": "…", "response": "…", "finished": True}])    # [0.93], None where a reward does not count
"""

import json
import os
import time
import urllib.error
import urllib.request


class ServedRewards:
    """A route behind an address. `expect`: what its description has to say, such as the reward table that a node's key holds."""

    def __init__(self, url, expect=None, token=None, patience=600):
        self.url = url.rstrip("/")
        self.token = token or os.environ.get("PIPE_REWARDS_TOKEN")
        self.patience = patience
        self.about = self.ask("/")
        for name, value in (expect or {}).items():
            if self.about.get(name) != value:
                raise SystemExit(f"{self.url} serves {name} {self.about.get(name)!r}, and {value!r} was declared")

    def __call__(self, rows):
        rows = list(rows)
        most, rewards = self.about["most_rows"], []
        for first in range(0, len(rows), most):
            rewards += self.ask("/score", {"rows": rows[first : first + most]})["rewards"]
        return rewards

    def ask(self, path, body=None):
        """The answer; what may pass (503, a server that is being started again) is asked again as long as there is patience."""
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        data = None if body is None else json.dumps(body).encode()
        until = time.monotonic() + self.patience
        while True:
            request = urllib.request.Request(self.url + path, data=data, headers=headers)
            try:
                with self.opener().open(request) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                said = error.read().decode(errors="replace").strip()
                if error.code != 503 or time.monotonic() > until:
                    raise SystemExit(f"{self.url}{path}: {error.code}: {said}") from None
                pause = float(error.headers.get("Retry-After") or 1)
            except OSError as error:
                if time.monotonic() > until:
                    raise SystemExit(f"{self.url}{path}: {error}; does `pipe serve rewards` run there?") from None
                pause = 1.0
            time.sleep(min(pause, max(0.0, until - time.monotonic())))

    @staticmethod
    def opener():
        # A server of one's own is not behind a proxy.
        return urllib.request.build_opener(urllib.request.ProxyHandler({}))
