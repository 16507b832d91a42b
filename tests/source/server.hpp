// A server for tests of what calls out: it reads requests and answers what it is told to.

#pragma once

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <functional>
#include <list>
#include <string>
#include <utility>
#include <vector>

namespace bulkhead::testing {

/// Everything happens on one loop, so nothing here needs a lock.
class Server {
 public:
  explicit Server(boost::asio::io_context& io) : acceptor_(io, {boost::asio::ip::address_v4::loopback(), 0}) {
    accept();
  }

  /// What is answered, head and body; empty: nothing, ever.
  std::function<std::string(const std::string& request)> answer = [](const std::string&) { return ok("ok"); };
  std::vector<std::string> requests;
  int connections = 0;

  std::string url() const { return "http://127.0.0.1:" + std::to_string(acceptor_.local_endpoint().port()); }
  static std::string ok(const std::string& body) {
    return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  }

 private:
  struct Connection {
    explicit Connection(boost::asio::ip::tcp::socket accepted) : socket(std::move(accepted)) {}
    boost::asio::ip::tcp::socket socket;
    std::string in, out;
  };

  void accept() {
    acceptor_.async_accept([this](boost::system::error_code error, boost::asio::ip::tcp::socket socket) {
      if (error) return;
      ++connections;
      read(open_.emplace_back(std::move(socket)));
      accept();
    });
  }

  void read(Connection& connection) {
    boost::asio::async_read_until(connection.socket, boost::asio::dynamic_buffer(connection.in), "\r\n\r\n",
                                  [this, &connection](boost::system::error_code error, std::size_t head) {
                                    if (!error) read_body(connection, head);
                                  });
  }

  void read_body(Connection& connection, std::size_t head) {
    std::size_t at = connection.in.find("Content-Length: ");
    std::size_t size = head + (at < head ? std::stoul(connection.in.substr(at + 16)) : 0);
    std::size_t missing = size > connection.in.size() ? size - connection.in.size() : 0;
    boost::asio::async_read(connection.socket, boost::asio::dynamic_buffer(connection.in),
                            boost::asio::transfer_exactly(missing),
                            [this, &connection, size](boost::system::error_code error, std::size_t) {
                              if (error) return;
                              requests.push_back(connection.in.substr(0, size));
                              connection.in.erase(0, size);
                              connection.out = answer(requests.back());
                              if (!connection.out.empty()) write(connection);
                            });
  }

  void write(Connection& connection) {
    boost::asio::async_write(connection.socket, boost::asio::buffer(connection.out),
                             [this, &connection](boost::system::error_code error, std::size_t) {
                               if (connection.out.find("Connection: close") != std::string::npos)
                                 connection.socket.close();
                               if (!error && connection.socket.is_open()) read(connection);
                             });
  }

  boost::asio::ip::tcp::acceptor acceptor_;
  std::list<Connection> open_;
};

}  // namespace bulkhead::testing
