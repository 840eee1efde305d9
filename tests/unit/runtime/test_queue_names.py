"""What queues are called, and what each kind of broker is told."""

from __future__ import annotations

from dicomrelay.runtime import broker_options
from dicomrelay.runtime.queue_names import FORWARD_QUEUES, INTAKE_QUEUES, Queue, QueueNames


def test_with_one_host_queues_are_called_as_they_are() -> None:
    """So who looks into an embedded broker finds what the pages say."""
    names = QueueNames()
    assert names.all() == [queue.value for queue in Queue]
    assert names.taken_by(FORWARD_QUEUES) == list(FORWARD_QUEUES)
    assert names.forward_here == ""


def test_with_several_hosts_what_is_a_spools_has_its_name() -> None:
    """Nobody takes a wake-up for a spool that he does not have; what anybody can do has one name for all."""
    one, other = QueueNames("gw1-0123abcd"), QueueNames("gw2-0123abcd")
    assert one.taken_by(INTAKE_QUEUES) == ["group@gw1-0123abcd", "maintenance@gw1-0123abcd"]
    assert set(one.all()) & set(other.all()) == {"forward.urgent", "forward.normal", "forward.bulk", "frames"}
    assert one.taken_by(FORWARD_QUEUES) == ["forward@gw1-0123abcd", *FORWARD_QUEUES]
    assert one.taken_by([Queue.FRAMES]) == ["frames"]


def test_a_comma_in_the_name_of_a_machine_makes_no_two_queues() -> None:
    """Celery's option divides at commas."""
    assert "," not in "".join(QueueNames("a,b c-0123abcd").all())


def test_rabbitmq_gets_quorum_queues_and_confirms_and_redis_a_timeout() -> None:
    """Without `socket_timeout` a worker never notices a Redis that went silent; heartbeats do it for the other."""
    amqp = broker_options.celery_options("amqps://h", timeout_s=5)
    assert amqp["broker_transport_options"]["confirm_publish"] is True
    assert amqp["broker_heartbeat"] == 10
    assert broker_options.queue_arguments("amqp://h") == {"x-queue-type": "quorum"}

    redis = broker_options.celery_options("rediss://h", timeout_s=5)
    assert redis["broker_transport_options"]["socket_timeout"] == 5
    assert broker_options.queue_arguments("redis://h") == {}
    assert "read_timeout" not in broker_options.publisher_options("redis://h", timeout_s=5)


def test_the_consumer_has_no_step_for_delayed_messages() -> None:
    """None is ever delayed by the broker, and it would declare 28 queues."""
    from celery.worker.consumer import Consumer  # noqa: PLC0415 - slow to import

    steps = broker_options.without_delayed_delivery(Consumer.Blueprint.default_steps)
    assert not [step for step in steps if "delayed" in step]
    assert [step for step in steps if step.endswith(":Tasks")]
