"""The metrics page with the names, labels and buckets of vLLM V1."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator

from headgate.sim.engine import EngineModel

_TTFT = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0,
    80.0, 160.0, 640.0, 2560.0,
)  # fmt: skip
_TPOT = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
)  # fmt: skip
_LATENCY = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0,
    960.0, 1920.0, 7680.0,
)  # fmt: skip


class Histogram:
    """Counts by upper bound, in seconds."""

    def __init__(self, name: str, about: str, bounds: tuple[float, ...]) -> None:
        self.name = name
        self.about = about
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count *value* *times* times."""
        self._counts[bisect_left(self._bounds, value)] += times
        self._sum += value * times

    def lines(self, labels: str) -> Iterator[str]:
        """The exposition lines."""
        yield f"# HELP {self.name} {self.about}"
        yield f"# TYPE {self.name} histogram"
        total = 0
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self._counts, strict=True):
            total += count
            yield f'{self.name}_bucket{{{labels},le="{bound}"}} {float(total)}'
        yield f"{self.name}_count{{{labels}}} {float(total)}"
        yield f"{self.name}_sum{{{labels}}} {self._sum}"


class Instruments:
    """What the server counts beside the engine's own totals. Times are wall seconds, as clients see them."""

    def __init__(self, unix_time: float) -> None:
        """*unix_time*: when the server's process began."""
        self._started = unix_time
        self.ttft = Histogram("vllm:time_to_first_token_seconds", "Histogram of time to first token.", _TTFT)
        self.tpot = Histogram(
            "vllm:time_per_output_token_seconds", "Histogram of time per output token, request means.", _TPOT
        )
        self.latency = Histogram(
            "vllm:e2e_request_latency_seconds", "Histogram of request latency.", _LATENCY
        )
        self.finished: Counter[str] = Counter({"stop": 0, "length": 0, "abort": 0})
        self.asleep = False
        """The engine was put to sleep."""
        self._lora_series: dict[tuple[str, str], float] = {}

    def page(self, engine: EngineModel, model: str, unix_time: float) -> str:
        """The page now. *unix_time* is the value of the adapter series that is current."""
        labels = f'model_name="{_escape(model)}",engine="0"'
        lines = [
            "# HELP process_start_time_seconds Start time of the process since unix epoch in seconds.",
            "# TYPE process_start_time_seconds gauge",
            f"process_start_time_seconds {self._started:.2f}",
        ]
        for kind, name, about, value in _samples(engine):
            lines += (f"# HELP vllm:{name} {about}", f"# TYPE vllm:{name} {kind}")
            lines.append(f"vllm:{name}{{{labels}}} {float(value)}")
        lines += _sleep_state(labels, self.asleep)
        lines += _cache_config(engine)
        lines += _request_success(labels, self.finished)
        lines += self._loras(engine, unix_time)
        for histogram in (self.ttft, self.tpot, self.latency):
            lines += histogram.lines(labels)
        return "\n".join(lines) + "\n"

    def _loras(self, engine: EngineModel, unix_time: float) -> Iterator[str]:
        """One series for each recent combination of adapters; the newest value is the current one."""
        running, waiting = ",".join(engine.adapters.running), ",".join(engine.waiting_adapters)
        if not engine.adapters.loaded and not waiting and not self._lora_series:
            return
        self._lora_series.pop((running, waiting), None)
        self._lora_series[running, waiting] = unix_time
        while len(self._lora_series) > 4:
            del self._lora_series[next(iter(self._lora_series))]
        yield "# HELP vllm:lora_requests_info Running stats on lora requests."
        yield "# TYPE vllm:lora_requests_info gauge"
        for (runs, waits), at in self._lora_series.items():
            yield (
                f'vllm:lora_requests_info{{max_lora="{engine.adapters.limit}",'
                f'running_lora_adapters="{_escape(runs)}",waiting_lora_adapters="{_escape(waits)}"}} {at!r}'
            )


def _samples(engine: EngineModel) -> tuple[tuple[str, str, str, float], ...]:
    totals = engine.totals
    return (
        ("gauge", "num_requests_running", "Number of requests in model execution batches.", engine.running),
        ("gauge", "num_requests_waiting", "Number of requests waiting to be processed.", engine.waiting),
        ("gauge", "kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.", engine.cache.usage),
        ("counter", "prefix_cache_queries_total", "Prefix cache queries, in tokens.", totals.prefix_queries),
        ("counter", "prefix_cache_hits_total", "Prefix cache hits, in tokens.", totals.prefix_hits),
        ("counter", "num_preemptions_total", "Preemptions by the engine.", totals.preemptions),
        ("counter", "prompt_tokens_total", "Number of prefill tokens processed.", totals.prompt_tokens),
        ("counter", "generation_tokens_total", "Generation tokens processed.", totals.generated_tokens),
    )


def _sleep_state(labels: str, asleep: bool) -> Iterator[str]:
    """One of three states is 1; sleep is of level 1."""
    yield "# HELP vllm:engine_sleep_state Engine sleep state."
    yield "# TYPE vllm:engine_sleep_state gauge"
    for state, value in (("awake", not asleep), ("weights_offloaded", asleep), ("discard_all", False)):
        yield f'vllm:engine_sleep_state{{{labels},sleep_state="{state}"}} {float(value)}'


def _cache_config(engine: EngineModel) -> Iterator[str]:
    labels = {
        "block_size": engine.preset.block_tokens,
        "cache_dtype": "auto",
        "enable_prefix_caching": "True",
        "engine": "0",
        "gpu_memory_utilization": "0.9",
        "num_cpu_blocks": "None",
        "num_gpu_blocks": engine.cache.blocks,
        "prefix_caching_hash_algo": "sha256",
    }
    yield "# HELP vllm:cache_config_info Information of the LLMEngine CacheConfig"
    yield "# TYPE vllm:cache_config_info gauge"
    yield "vllm:cache_config_info{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "} 1.0"


def _request_success(labels: str, finished: Counter[str]) -> Iterator[str]:
    yield "# HELP vllm:request_success_total Count of successfully processed requests."
    yield "# TYPE vllm:request_success_total counter"
    for reason, number in finished.items():
        yield f'vllm:request_success_total{{{labels},finished_reason="{reason}"}} {float(number)}'


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
