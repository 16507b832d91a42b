// The yardstick's far end: a DEALER that sends back what it gets, and nothing else.

#include <zmq.h>

#include <cstdio>

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  void* context = zmq_ctx_new();
  void* dealer = zmq_socket(context, ZMQ_DEALER);
  int unlimited = 0;
  zmq_setsockopt(dealer, ZMQ_SNDHWM, &unlimited, sizeof unlimited);
  zmq_setsockopt(dealer, ZMQ_RCVHWM, &unlimited, sizeof unlimited);
  if (zmq_connect(dealer, argv[1]) != 0) return 1;
  zmq_send(dealer, "ready", 5, 0);
  zmq_msg_t frame;
  for (;;) {
    zmq_msg_init(&frame);
    if (zmq_msg_recv(&frame, dealer, 0) < 0) return 1;
    bool more = zmq_msg_more(&frame) != 0;
    if (!more && zmq_msg_size(&frame) == 4) return 0;  // "stop"
    zmq_msg_send(&frame, dealer, more ? ZMQ_SNDMORE : 0);
  }
}
