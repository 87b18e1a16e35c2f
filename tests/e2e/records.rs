//! One record a leg, right in every field; and the log, in which either leg's Call-ID finds the whole story.

use crate::support::softphone::{Softphone, audio};
use crate::support::wire::{Wire, rtp};
use crate::support::{Engine, Net, PAIR, SOON, wait_for};

#[test]
fn each_leg_has_one_record_and_they_name_one_call() {
    let net = Net::new();
    let engine = Engine::start(&net.fill(PAIR));
    let (a, b) = (Softphone::at((net.ip(2), 5060)), Softphone::at((net.ip(3), 5060)));
    let (media_a, media_b) = (Wire::at(net.ip(2)), Wire::at(net.ip(3)));
    let mut dialog = a.invite(engine.sip(0), "15550100", &audio(media_a.address()));
    let invite = b.expect("INVITE");
    b.answer(&invite, 180, "");
    a.expect("180 INVITE");
    b.answer(&invite, 200, &audio(media_b.address()));
    let ok = a.expect("200 INVITE");
    a.ack(&mut dialog, &ok);
    b.expect("ACK");
    for n in 0..10u16 {
        media_a.rtp.send(ok.media(0), &rtp(0, n, u32::from(n) * 160, 1, &[1; 160]));
        media_b.rtp.receive();
    }
    let id = engine.wait_call("answered");
    a.hang_up(&mut dialog, &b);
    engine.wait_idle();
    let cdrs = engine.wait_cdrs(2);
    let [leg_a, leg_b] = [0, 1].map(|leg| cdrs.iter().find(|cdr| cdr["leg"] == leg).expect("a record a leg"));
    for (leg, direction, trunk, call_id, remote) in [
        (leg_a, "in", "pbx", dialog.call_id.as_str(), a.address()),
        (leg_b, "out", "carrier", invite.header("Call-ID"), b.address()),
    ] {
        assert_eq!(leg["call_id"], id.as_str());
        assert_eq!(leg["direction"], direction);
        assert_eq!(leg["trunk"], trunk);
        assert_eq!(leg["route"], "route-1");
        assert_eq!(leg["sip_call_id"], call_id);
        assert_eq!(leg["remote"], remote.to_string());
        assert_eq!(leg["to_user"], "15550100");
        assert_eq!(leg["from_user"], "2001");
        assert_eq!(leg["progress_status"], 180);
        assert_eq!(leg["final_status"], 200);
        assert_eq!(leg["release_by"], "caller");
        assert_eq!(leg["release_cause"], "normal");
        let times: Vec<&str> =
            ["created", "progress", "answered", "ended"].map(|t| leg[t].as_str().expect("a time")).to_vec();
        assert!(times.is_sorted(), "{times:?}");
    }
    assert_ne!(leg_a["id"], leg_b["id"]);
    assert_eq!(leg_a["quality"]["received"], 10, "{leg_a:#}");
    assert_eq!(leg_b["quality"]["sent"], 10, "{leg_b:#}");
}

#[test]
fn a_refused_call_has_its_record() {
    let net = Net::new();
    let engine = Engine::start(&net.fill(&PAIR.replace("from = \"pbx\"", "from = \"pbx\"\nto = \"1555.\"")));
    let a = Softphone::at((net.ip(2), 5060));
    let mut dialog = a.invite(engine.sip(0), "20", &audio((net.ip(2), 4000).into()));
    let refusal = a.expect("404 INVITE");
    a.ack_refusal(&mut dialog, &refusal);
    let cdrs = engine.wait_cdrs(1);
    assert_eq!(
        (&cdrs[0]["final_status"], &cdrs[0]["release_by"]),
        (&404.into(), &"engine".into()),
        "{cdrs:#?}"
    );
}

#[test]
fn either_call_id_finds_the_whole_story_in_the_log() {
    let net = Net::new();
    let engine = Engine::start(&net.fill(PAIR));
    let (a, b) = (Softphone::at((net.ip(2), 5060)), Softphone::at((net.ip(3), 5060)));
    let (media_a, media_b) = (Wire::at(net.ip(2)), Wire::at(net.ip(3)));
    let (offer, answer) = (audio(media_a.address()), audio(media_b.address()));
    let mut call = a.connect(&b, engine.sip(0), "15550100", &offer, &answer);
    a.hang_up(&mut call.a, &b);
    engine.wait_idle();
    for call_id in [&call.a.call_id, &call.b.call_id] {
        // The lines that `grep Call-ID` finds, and by the id of the call that stands in them all its others.
        wait_for("the story of a call in the log", SOON, || {
            let log = engine.log();
            let story: Vec<&str> = log.lines().filter(|line| line.contains(call_id.as_str())).collect();
            let tells = |what: &str| story.iter().any(|line| line.to_lowercase().contains(what));
            (story.len() >= 3 && tells("answered") && tells("ended")).then_some(())
        });
    }
}
