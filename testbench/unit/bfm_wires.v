// A card without anything inside: each stream at the card's ports goes through a buffer to a stream named dev_*, where a
// bench plays the card. With `direct`, dev_rq and dev_eth_tx reach the ports without a buffer, so that they can misbehave.

module bfm_buffer #(parameter WIDTH = 8) (
    input clk, input rst,
    input in_valid, output in_ready, input [WIDTH-1:0] in_payload,
    output out_valid, input out_ready, output [WIDTH-1:0] out_payload
);
    reg [WIDTH-1:0] head, tail;
    reg [1:0] level;
    assign in_ready = level != 2;
    assign out_valid = level != 0;
    assign out_payload = head;
    wire put = in_valid && in_ready;
    wire get = out_valid && out_ready;
    always @(posedge clk) begin
        if (rst) level <= 0;
        else begin
            level <= level + put - get;
            if (get) head <= level == 2 ? tail : in_payload;
            else if (level == 0) head <= in_payload;
            if (put) tail <= in_payload;
        end
    end
endmodule

module bfm_wires #(parameter W = 256) (
    input clk, input rst, input direct,
    input cq_valid, output cq_ready, input cq_first, input cq_last, input [127:0] cq_header, input [W-1:0] cq_data,
    input [W/32-1:0] cq_keep,
    output dev_cq_valid, input dev_cq_ready, output dev_cq_first, output dev_cq_last, output [127:0] dev_cq_header,
    output [W-1:0] dev_cq_data, output [W/32-1:0] dev_cq_keep,
    input rc_valid, output rc_ready, input rc_first, input rc_last, input [127:0] rc_header, input [W-1:0] rc_data,
    input [W/32-1:0] rc_keep,
    output dev_rc_valid, input dev_rc_ready, output dev_rc_first, output dev_rc_last, output [127:0] dev_rc_header,
    output [W-1:0] dev_rc_data, output [W/32-1:0] dev_rc_keep,
    input dev_cc_valid, output dev_cc_ready, input dev_cc_first, input dev_cc_last, input [127:0] dev_cc_header,
    input [W-1:0] dev_cc_data, input [W/32-1:0] dev_cc_keep,
    output cc_valid, input cc_ready, output cc_first, output cc_last, output [127:0] cc_header,
    output [W-1:0] cc_data, output [W/32-1:0] cc_keep,
    input dev_rq_valid, output dev_rq_ready, input dev_rq_first, input dev_rq_last, input [127:0] dev_rq_header,
    input [W-1:0] dev_rq_data, input [W/32-1:0] dev_rq_keep,
    output rq_valid, input rq_ready, output rq_first, output rq_last, output [127:0] rq_header,
    output [W-1:0] rq_data, output [W/32-1:0] rq_keep, input rq_np_ready,
    input [W-1:0] eth_rx_tdata, input [W/8-1:0] eth_rx_tkeep, input eth_rx_tvalid, output eth_rx_tready,
    input eth_rx_tlast, input eth_rx_tuser,
    output [W-1:0] dev_eth_rx_tdata, output [W/8-1:0] dev_eth_rx_tkeep, output dev_eth_rx_tvalid,
    input dev_eth_rx_tready, output dev_eth_rx_tlast, output dev_eth_rx_tuser,
    input [W-1:0] dev_eth_tx_tdata, input [W/8-1:0] dev_eth_tx_tkeep, input dev_eth_tx_tvalid,
    output dev_eth_tx_tready, input dev_eth_tx_tlast, input dev_eth_tx_tuser,
    output [W-1:0] eth_tx_tdata, output [W/8-1:0] eth_tx_tkeep, output eth_tx_tvalid, input eth_tx_tready,
    output eth_tx_tlast,
    input link_up, input [47:0] cfg_mac, input [15:0] cfg_mtu, input [31:0] cfg_speed
);
    localparam TLP = 130 + W + W/32, ETH = 2 + W + W/8;

    bfm_buffer #(TLP) cq (clk, rst, cq_valid, cq_ready, {cq_first, cq_last, cq_header, cq_keep, cq_data},
        dev_cq_valid, dev_cq_ready, {dev_cq_first, dev_cq_last, dev_cq_header, dev_cq_keep, dev_cq_data});
    bfm_buffer #(TLP) rc (clk, rst, rc_valid, rc_ready, {rc_first, rc_last, rc_header, rc_keep, rc_data},
        dev_rc_valid, dev_rc_ready, {dev_rc_first, dev_rc_last, dev_rc_header, dev_rc_keep, dev_rc_data});
    bfm_buffer #(TLP) cc (clk, rst, dev_cc_valid, dev_cc_ready,
        {dev_cc_first, dev_cc_last, dev_cc_header, dev_cc_keep, dev_cc_data},
        cc_valid, cc_ready, {cc_first, cc_last, cc_header, cc_keep, cc_data});
    bfm_buffer #(ETH) eth_rx (clk, rst, eth_rx_tvalid, eth_rx_tready,
        {eth_rx_tuser, eth_rx_tlast, eth_rx_tkeep, eth_rx_tdata},
        dev_eth_rx_tvalid, dev_eth_rx_tready, {dev_eth_rx_tuser, dev_eth_rx_tlast, dev_eth_rx_tkeep, dev_eth_rx_tdata});

    wire [TLP-1:0] rq_in = {dev_rq_first, dev_rq_last, dev_rq_header, dev_rq_keep, dev_rq_data};
    wire [TLP-1:0] rq_out;
    wire rq_in_ready, rq_out_valid;
    bfm_buffer #(TLP) rq (clk, rst, dev_rq_valid, rq_in_ready, rq_in, rq_out_valid, rq_ready, rq_out);
    assign rq_valid = direct ? dev_rq_valid : rq_out_valid;
    assign dev_rq_ready = direct ? rq_ready : rq_in_ready;
    assign {rq_first, rq_last, rq_header, rq_keep, rq_data} = direct ? rq_in : rq_out;

    wire [ETH-1:0] tx_in = {dev_eth_tx_tuser, dev_eth_tx_tlast, dev_eth_tx_tkeep, dev_eth_tx_tdata};
    wire [ETH-1:0] tx_out;
    wire tx_in_ready, tx_out_valid, tx_user;
    bfm_buffer #(ETH) eth_tx (clk, rst, dev_eth_tx_tvalid, tx_in_ready, tx_in, tx_out_valid, eth_tx_tready, tx_out);
    assign eth_tx_tvalid = direct ? dev_eth_tx_tvalid : tx_out_valid;
    assign dev_eth_tx_tready = direct ? eth_tx_tready : tx_in_ready;
    assign {tx_user, eth_tx_tlast, eth_tx_tkeep, eth_tx_tdata} = direct ? tx_in : tx_out;
endmodule
