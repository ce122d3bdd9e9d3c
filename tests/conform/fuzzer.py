"""One fuzzing peer of the Autobahn suite: runs cases against a server, or for the clients that connect to it.

    fuzzer.py FOLDER client URL CASE...     connects to URL once for each case
    fuzzer.py FOLDER server CASE...         listens, and says where; ends when its client asks for the report

FOLDER holds the unpacked source of the suite. Each result is a line of JSON on stdout. The peers stand on `autobahn`,
the library that the suite itself is made for; of the suite they replace what drives the cases, which is Python 2.
"""

import json
import os
import sys
import time
from urllib.parse import urlsplit

import suite
from autobahn.twisted import websocket as ends
from autobahn.websocket import protocol
from twisted.internet import reactor, task

# A case that is stuck for longer is ended; the suite's own limits are below.
CASE_SECONDS_MAX = 500
CONNECT_ATTEMPTS_MAX = 20


class Masker:
    """XOR with a repeated mask: the library's own goes octet by octet."""

    def __init__(self, mask, length=None):
        self.mask = bytes(mask)
        self.at = 0

    def pointer(self):
        return self.at

    def reset(self):
        self.at = 0

    def process(self, data):
        begin = self.at % 4
        self.at += len(data)
        stream = (self.mask * (len(data) // 4 + 2))[begin : begin + len(data)]
        mixed = int.from_bytes(data, "little") ^ int.from_bytes(stream, "little")
        return mixed.to_bytes(len(data), "little")


class Peer:
    """What a case sees of its connection: the library's protocol, in the octets of the suite, and some clocks."""

    id = None
    runCase = None
    connectionWasOpen = False

    def begin(self, id):
        self.id = id
        self.runCase = self.factory.cases[id](self)

    def connectionMade(self):
        self.createWirelog = True
        self.wirelog = []
        self.txFrameStats = {}
        self.rxFrameStats = {}
        self.since = time.monotonic()
        super().connectionMade()

    def connectionLost(self, reason):
        super().connectionLost(reason)
        if self.runCase:
            self.runCase.onConnectionLost(self.failedByMe)
            self.factory.done(self)

    def result(self):
        case = self.runCase
        return {
            "case": self.id,
            "behavior": case.behavior,
            "close": case.behaviorClose,
            "why": f"{case.result} {case.resultClose}",
            "seconds": round(time.monotonic() - self.since, 2),
        }

    def onOpen(self):
        self.connectionWasOpen = True
        if self.runCase:
            self.runCase.onOpen()

    def onMessage(self, payload, isBinary):
        if self.runCase:
            self.runCase.onMessage(payload, isBinary)

    def onPong(self, payload):
        if self.runCase:
            self.runCase.onPong(payload)

    def onClose(self, wasClean, code, reason):
        if self.runCase:
            self.runCase.onClose(wasClean, code, reason)

    # The clocks of the cases.

    def unless_closed(self, do):
        if self.state != protocol.WebSocketProtocol.STATE_CLOSED:
            do()

    def continueLater(self, delay, do, tag=None):
        reactor.callLater(delay, self.unless_closed, do)

    def killAfter(self, delay):
        self.continueLater(delay, self.failConnection)

    def closeAfter(self, delay):
        self.continueLater(delay, self.sendClose)

    # What one case looks at of what was sent; nothing is logged.

    def enableWirelog(self, enable):
        self.createWirelog = enable

    def logTxFrame(self, frameHeader, payload, repeatLength, chopsize, sync):
        self.txFrameStats[frameHeader.opcode] = self.txFrameStats.get(frameHeader.opcode, 0) + 1

    def logRxFrame(self, frameHeader, payload):
        self.rxFrameStats[frameHeader.opcode] = self.rxFrameStats.get(frameHeader.opcode, 0) + 1

    def logTxOctets(self, data, sync):
        pass

    def logRxOctets(self, data):
        pass

    # Text of the suite is octets.

    def sendFrame(self, opcode, payload=b"", fin=True, rsv=0, mask=None, payload_len=None, chopsize=None, sync=False):
        payload = suite.octets(payload)
        if payload_len is not None:
            payload = (payload * (payload_len // len(payload) + 1))[:payload_len]
        super().sendFrame(opcode, payload, fin, rsv, suite.octets(mask), None, chopsize, sync)

    def sendMessage(self, payload, isBinary=False, fragmentSize=None, sync=False, doNotCompress=False):
        super().sendMessage(suite.octets(payload), isBinary, fragmentSize, sync, doNotCompress)

    def sendMessageFrameData(self, payload, sync=False):
        return super().sendMessageFrameData(suite.octets(payload), sync)

    def sendCloseFrame(self, code=None, reasonUtf8=None, isReply=False):
        super().sendCloseFrame(code, suite.octets(reasonUtf8), isReply)


class ClientPeer(Peer, ends.WebSocketClientProtocol):
    pass


class ServerPeer(Peer, ends.WebSocketServerProtocol):
    def onConnect(self, request):
        self.asked = request.path
        if request.path == "/runCase":
            self.begin(self.factory.ids[int(request.params["case"][0]) - 1])

    def onOpen(self):
        if self.runCase:
            return super().onOpen()
        if self.asked == "/getCaseCount":
            self.sendMessage(str(len(self.factory.ids)))
        self.sendClose()

    def connectionLost(self, reason):
        super().connectionLost(reason)
        if self.asked == "/updateReports":
            reactor.stop()


class Driver:
    """Common to the factories of both roles."""

    def drive(self, cases, ids):
        self.cases, self.ids = cases, ids
        self.live = None
        self.logFrames = True
        # By the specification: a fault is answered by a close frame.
        self.setProtocolOptions(failByDrop=False)
        task.LoopingCall(self.watch).start(1, now=False)

    def buildProtocol(self, addr):
        peer = self.protocol()
        peer.factory = self
        self.live = peer
        return peer

    def watch(self):
        """Ends a case that is stuck, and everything when nobody waits for the results any more."""
        if os.getppid() != PARENT:
            os._exit(1)
        peer = self.live
        if peer and peer.runCase and peer.transport and time.monotonic() - peer.since > CASE_SECONDS_MAX:
            peer.transport.abortConnection()

    def done(self, peer):
        print(json.dumps(peer.result()), flush=True)


class ClientDriver(Driver, ends.WebSocketClientFactory):
    protocol = ClientPeer

    def start(self, url):
        self.setSessionParameters(url=url)
        self.left = iter(self.ids)
        self.address = urlsplit(url)
        self.next_case()

    def next_case(self):
        self.id, self.attempts = next(self.left, None), 0
        if self.id is None:
            reactor.stop()
        else:
            reactor.connectTCP(self.address.hostname, self.address.port, self)

    def buildProtocol(self, addr):
        peer = super().buildProtocol(addr)
        peer.begin(self.id)
        return peer

    def clientConnectionLost(self, connector, reason):
        self.next_case()

    def clientConnectionFailed(self, connector, reason):
        self.attempts += 1
        if self.attempts == CONNECT_ATTEMPTS_MAX:
            print(f"conform: cannot connect: {reason.getErrorMessage()}", file=sys.stderr)
            reactor.stop()
        else:
            reactor.callLater(0.25, connector.connect)


class ServerDriver(Driver, ends.WebSocketServerFactory):
    protocol = ServerPeer

    def start(self):
        port = reactor.listenTCP(0, self, interface="127.0.0.1").getHost().port
        self.setSessionParameters(url=f"ws://127.0.0.1:{port}")
        print(json.dumps({"listening": f"ws://127.0.0.1:{port}"}), flush=True)


def main(folder, role, *rest):
    protocol.Utf8Validator = suite.Utf8Validator
    protocol.createXorMasker = Masker
    cases = suite.load(folder)
    if role == "client":
        url, *ids = rest
        driver = ClientDriver(None)
        driver.drive(cases, ids)
        driver.start(url)
    else:
        driver = ServerDriver(None)
        driver.drive(cases, list(rest))
        driver.start()
    reactor.run()


PARENT = os.getppid()

if __name__ == "__main__":
    main(*sys.argv[1:])
