# atmand as one service of Nomad: the whole daemon, single instance, state outside the allocation.
#
#   nomad job run -var atmand=/opt/atmand/bin/atmand -var state=/var/lib/atmand atmand.nomad.hcl
#
# README.md beside this file says what the client must enable, and how to reload, stop and roll.

variable "atmand" {
  type        = string
  default     = "/opt/atmand/bin/atmand"
  description = "The program on the client: an absolute path."
}

variable "state" {
  type        = string
  default     = "/var/lib/atmand"
  description = "The state directory on the client: an absolute path, outside every allocation, of the task's user."
}

variable "user" {
  type        = string
  default     = ""
  description = "Whom the daemon runs as. Empty: whom the Nomad client runs as."
}

variable "feed" {
  type        = string
  default     = "simulator"
  description = "simulator (an embedded exchange) or kite (the real market's prices; orders stay on paper)."
}

variable "secrets" {
  type        = string
  default     = "/etc/atmand/secrets"
  description = "With kite: a directory on the client with feed__kite__api_key and access_token, mode 0600."
}

variable "provider" {
  type        = string
  default     = "nomad"
  description = "Where the service is registered and checked: nomad or consul."
}

variable "host_network" {
  type        = string
  default     = ""
  description = "A host network of the client on loopback, where the API listens. Empty: the default one, for -dev."
}

variable "node" {
  type        = string
  default     = ""
  description = "The name of the one client that has the state. Empty: any, for a cluster of one."
}

variable "datacenters" {
  type    = list(string)
  default = ["*"]
}

variable "cpu" {
  type        = number
  default     = 1000
  description = "MHz."
}

variable "memory" {
  type        = number
  default     = 1536
  description = "MB. Compiling on a first start needs most of it."
}

job "atmand" {
  type        = "service"
  datacenters = var.datacenters
  priority    = 80

  constraint {
    attribute = "${attr.kernel.name}"
    value     = "linux"
  }

  # The state lies on one machine, so the job does as well.
  constraint {
    attribute = "${node.unique.name}"
    operator  = "regexp"
    value     = var.node == "" ? ".*" : "^${var.node}$"
  }

  # One daemon a state directory: the old one is stopped before the new one starts.
  update {
    max_parallel      = 1
    health_check      = "checks"
    min_healthy_time  = "15s"
    healthy_deadline  = "6m"
    progress_deadline = "10m"
    auto_revert       = true
  }

  group "atmand" {
    count = 1

    # Out of the catalogue first, then told to stop.
    shutdown_delay = "2s"

    network {
      port "http" {
        host_network = var.host_network
      }
    }

    restart {
      attempts = 3
      interval = "10m"
      delay    = "5s"
      mode     = "fail"
    }

    reschedule {
      delay          = "15s"
      delay_function = "exponential"
      max_delay      = "5m"
      unlimited      = true
    }

    service {
      name     = "atmand"
      port     = "http"
      provider = var.provider

      # The loop answers: one that does not for 15 seconds is started again. The grace is for a start that compiles.
      check {
        name     = "live"
        type     = "http"
        path     = "/health/live"
        interval = "5s"
        timeout  = "2s"

        check_restart {
          limit = 3
          grace = "180s"
        }
      }

      # It says whether the daemon can trade; a feed that is down is no reason to start it again.
      check {
        name     = "ready"
        type     = "http"
        path     = "/health/ready"
        interval = "5s"
        timeout  = "2s"
      }
    }

    task "atmand" {
      driver = "raw_exec"
      user   = var.user

      # A drain takes at most 5 seconds: no new entries, the journal synced.
      kill_signal  = "SIGTERM"
      kill_timeout = "25s"

      config {
        command = var.atmand
        args = [
          "run",
          "--config",
          "${NOMAD_TASK_DIR}/atmand.toml",
          "--state",
          var.state,
          "--port",
          "${NOMAD_PORT_http}",
        ]
      }

      env {
        ATMAND_SECRETS_DIR = var.feed == "kite" ? var.secrets : ""
        PYTHONUNBUFFERED   = "1"
      }

      # The text is fixed; what may change while it runs comes from the Nomad variable nomad/jobs/atmand:
      #   nomad var put -force nomad/jobs/atmand entries=false log_level=debug
      # renders it anew and sends SIGHUP. A variable that is not there leaves the defaults.
      template {
        destination   = "local/atmand.toml"
        change_mode   = "signal"
        change_signal = "SIGHUP"
        splay         = "0s"
        perms         = "0644"
        data          = <<EOT
{{- $entries := "true" }}
{{- $loss := "20000" }}
{{- $level := "info" }}
{{- if nomadVarExists "nomad/jobs/atmand" }}
{{- with nomadVar "nomad/jobs/atmand" }}
{{- if .entries }}{{ $entries = .entries }}{{ end }}
{{- if .daily_loss_rupees }}{{ $loss = .daily_loss_rupees }}{{ end }}
{{- if .log_level }}{{ $level = .log_level }}{{ end }}
{{- end }}
{{- end }}
[instance]
name = "atmand"

[feed]
kind = "${var.feed}"

[simulator]
historical_per_second = 1000

{{- if eq "${var.feed}" "kite" }}

[feed.kite]
access_token_file = "${var.secrets}/access_token"
{{- end }}

[accounts.paper]
venue = "paper"

[strategies.rsi_macd]
file = "strategies/rsi_macd.toml"
account = "paper"
capital_rupees = 500_000

[limits]
entries = {{ $entries }}
order_value_rupees = 200_000
position_value_rupees = 200_000
daily_loss_rupees = {{ $loss }}
open_positions = 5
orders_a_day = 500

[log]
level = "{{ $level }}"
format = "json"
EOT
      }

      template {
        destination   = "local/strategies/rsi_macd.toml"
        change_mode   = "signal"
        change_signal = "SIGHUP"
        splay         = "0s"
        perms         = "0644"
        data          = <<EOT
# Buys a dip that has begun to turn: RSI is low and MACD's histogram crosses zero; sells short the mirror image.
# A strategy is data: change a number here or in the configuration, send SIGHUP, and the running daemon takes it up.
name = "rsi_macd"
summary = "RSI and MACD turn together, long and short, intraday"
universe = [
    "NSE:RELIANCE", "NSE:TCS", "NSE:INFY", "NSE:HDFCBANK", "NSE:ICICIBANK",
    "NSE:SBIN", "NSE:ITC", "NSE:LT", "NSE:AXISBANK", "NSE:BHARTIARTL",
]
bar = "1m"

[session]
entry_from = "09:20"   # no entries before the first minutes have settled
entry_to = "15:00"
square_off = "15:10"   # whatever is open is closed

[params]
rsi_period = { default = 14, range = [5, 30], step = 1, unit = "bars" }
rsi_low = { default = 45, range = [10, 60], step = 1 }
rsi_high = { default = 55, range = [40, 90], step = 1 }
stop_atr = { default = 2.0, range = [0.5, 6.0], step = 0.25 }
target_atr = { default = 3.0, range = [0.5, 12.0], step = 0.25 }

[signals]
strength = "rsi(rsi_period)"
momentum = "macd(12, 26, 9).hist"

[entry]
long = "crosses_above(momentum, 0) and strength < rsi_high and strength > rsi_low"
short = "crosses_below(momentum, 0) and strength > rsi_low and strength < rsi_high"

[exit]
long = "crosses_below(momentum, 0) or strength > 75"
short = "crosses_above(momentum, 0) or strength < 25"

[stop]
loss = "stop_atr * atr(14)"      # rupees from the entry's average price
target = "target_atr * atr(14)"

[trade]
product = "MIS"                  # intraday: flat before the day ends

[size]
value = 100000                   # rupees a trade
EOT
      }

      resources {
        cpu    = var.cpu
        memory = var.memory
      }

      logs {
        max_files     = 10
        max_file_size = 10
      }
    }
  }
}
