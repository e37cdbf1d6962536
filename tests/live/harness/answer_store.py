"""A model server in the test's own process that keeps answers and conversations in its memory, by id, as vLLM
does with answers."""

import contextlib
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web
from tests.live.harness.processes import free_port

MODEL = "m"


class AnswerStore:
    """Serves POST /v1/responses and /v1/conversations and what can be done to what is kept; 404 for other ids."""

    def __init__(self) -> None:
        self.port = free_port()
        self.kept: dict[str, dict[str, Any]] = {}
        self.seen: list[str] = []
        """Method and path of what was asked, with the id that a body goes on with."""

    @property
    def address(self) -> str:
        """`ip:port`."""
        return f"127.0.0.1:{self.port}"

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["AnswerStore"]:
        """Serve until the block ends; what was kept is forgotten then."""
        app = web.Application()
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_post("/v1/responses", self._create)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/conversations", self._begin)
        for kind in ("responses", "conversations"):
            app.router.add_route("*", f"/v1/{kind}/{{id}}", self._of_one)
            app.router.add_route("*", f"/v1/{kind}/{{id}}/{{what}}", self._of_one)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port).start()
        try:
            yield self
        finally:
            await runner.cleanup()
            self.kept.clear()

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": MODEL, "object": "model"}]})

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(text="vllm:num_requests_waiting 0\nvllm:num_requests_running 0\n")

    async def _chat(self, request: web.Request) -> web.Response:
        self.seen.append("chat")
        return web.json_response({"id": "c", "model": MODEL, "choices": []})

    async def _begin(self, request: web.Request) -> web.Response:
        self.seen.append("POST conversation")
        id_ = f"conv_{uuid.uuid4().hex}"
        self.kept[id_] = {"id": id_, "object": "conversation", "created_at": 1, "metadata": {}}
        return web.json_response(self.kept[id_])

    def _absent(self, id_: str) -> web.Response:
        message = f"Nothing with id '{id_}' is kept here."
        return web.json_response({"error": {"message": message, "code": 404}}, status=404)

    async def _create(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        prior, conversation = asked.get("previous_response_id"), asked.get("conversation")
        if isinstance(conversation, dict):
            conversation = conversation["id"]
        self.seen.append(f"POST {prior or conversation}")
        for id_ in (prior, conversation):
            if id_ is not None and id_ not in self.kept:
                return self._absent(id_)
        answer = {
            "id": f"resp_{uuid.uuid4().hex}",
            "object": "response",
            "created_at": 1,
            "model": asked.get("model"),
            "status": "completed",
            "output": [],
            "parallel_tool_calls": False,
            "tool_choice": "auto",
            "tools": [],
            "previous_response_id": prior,
            "metadata": {"port": str(self.port)},
        }
        self.kept[answer["id"]] = answer
        if not asked.get("stream"):
            return web.json_response(answer)
        stream = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await stream.prepare(request)
        for number, kind in enumerate(("response.created", "response.completed")):
            event = {"response": answer, "sequence_number": number, "type": kind}
            await stream.write(f"event: {kind}\ndata: {json.dumps(event)}\n\n".encode())
        return stream

    async def _of_one(self, request: web.Request) -> web.Response:
        id_ = request.match_info["id"]
        self.seen.append(f"{request.method} {request.path.partition(id_)[2]}")
        if id_ not in self.kept:
            return self._absent(id_)
        if request.method == "DELETE":
            del self.kept[id_]
            return web.json_response({"id": id_, "object": "deleted", "deleted": True})
        if request.path.endswith(("/input_items", "/items")):
            return web.json_response({"object": "list", "data": [], "has_more": False})
        return web.json_response(self.kept[id_])
